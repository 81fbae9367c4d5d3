/*
 * What moult changes of node:cluster, and what it has to tell of it. CommonJS and without any import of moult's own, as the preload is.
 */
const cluster: typeof import('node:cluster').default = require('node:cluster');
const dgram: typeof import('node:dgram') = require('node:dgram');

/**
 * Has the primary accept for its workers, whatever the service asks for: with SCHED_NONE it would bind a socket on which only
 * workers listen, and each of them would take clients before this generation may.
 */
function acceptInPrimary(): void {
  let asked = cluster.schedulingPolicy;
  let isTold = false;
  Object.defineProperty(cluster, 'schedulingPolicy', {
    configurable: true,
    enumerable: true,
    // Read by Node when the first worker is forked. Source: node lib/internal/cluster/primary.js, setupPrimary.
    get() {
      if (asked === cluster.SCHED_NONE && !isTold) {
        isTold = true;
        process.emitWarning(
          'NODE_CLUSTER_SCHED_POLICY=none and cluster.SCHED_NONE do not apply under moult: the primary accepts, and gives ' +
            'connections to its workers in turn (SCHED_RR), so that its listeners can be handed over',
          'MoultWarning',
        );
      }
      return cluster.SCHED_RR;
    },
    set(policy: number) {
      asked = policy;
    },
  });
}

/** Decides about the bind of a socket that workers share. `proceed` does what Node would have done. @returns 0, or a negative error number of libuv. */
type SharedBind = (
  handle: object,
  bind: Bind,
  args: readonly [address: string, port: number, flags: number],
) => number;
type Bind = (this: object, address: string, port: number, flags: number) => number;

/**
 * Has a function decide about each datagram socket that the primary binds for its workers, once there is one. The primary's own
 * sockets have an owner; those for workers have none. Source: node lib/internal/cluster/shared_handle.js, lib/dgram.js.
 */
function onSharedBind(decide: SharedBind): void {
  cluster.once('fork', () => {
    const socket = dgram.createSocket('udp4');
    const { handle } = bySymbol(socket, 'state symbol') as { handle?: object | null };
    socket.close();
    const owner = handle ? symbolOf(handle, 'owner_symbol') : undefined;
    if (!handle || owner === undefined) return;
    const prototype = Object.getPrototypeOf(handle) as Record<string, Bind | undefined>;
    for (const name of ['bind', 'bind6']) {
      const original = prototype[name];
      if (typeof original !== 'function') continue;
      prototype[name] = function (this: object, ...args: Parameters<Bind>) {
        const isShared = !Object.hasOwn(this, owner) && Number(args[1]) > 0;
        return isShared ? decide(this, original, args) : original.apply(this, args);
      };
    }
  });
}

/** What a worker is given for a datagram socket of its own. */
type SharedWith = (
  socket: import('node:dgram').Socket,
  handle: object,
  asked: { readonly address: string; readonly port: number; readonly flags: number },
) => number;

/**
 * In a worker: has a function decide about each datagram socket that it shares with others, before it receives.
 * Source: node lib/internal/cluster/child.js, _getServer; lib/dgram.js, bindServerHandle.
 */
function onShare(decide: SharedWith): void {
  type Done = (error: number, handle: { close(): void } | null) => void;
  type GetServer = (owner: never, options: Asked, done: Done) => unknown;
  type Asked = {
    readonly addressType?: unknown;
    readonly port: number;
    readonly address: string;
    readonly flags?: number;
  };
  const module = cluster as unknown as { _getServer?: GetServer };
  const original = module._getServer;
  if (typeof original !== 'function') return;
  module._getServer = function (this: unknown, owner, options, done) {
    const { addressType, address, port, flags = 0 } = options;
    const isDatagram = String(addressType).startsWith('udp') && port > 0;
    if (!isDatagram) return original.call(this, owner, options, done);
    return original.call(this, owner, options, (error, handle) => {
      const denied = error || handle === null ? error : decide(owner, handle, { address, port, flags });
      if (denied && handle !== null) handle.close();
      done(denied, handle);
    });
  };
}

/** What a worker says to its primary when it is about to listen by itself: Node gives such messages to nobody else. */
const LEAD = 'NODE_MOULT_LEAD';

/** In the primary: calls back when a worker is about to listen by itself. */
function onLeading(lead: () => void): void {
  cluster.on('fork', ({ process: worker }) => {
    worker.on('internalMessage', (message: { cmd?: unknown } | null) => {
      if (message?.cmd === LEAD) lead();
    });
  });
}

/** Tells, once, of datagram sockets that workers share and that do not change hands. */
function tellOfDatagrams(changeHands: () => boolean): void {
  let isTold = false;
  cluster.on('listening', (_worker, { address, port, addressType }) => {
    // Source: Node.js documentation, cluster, event 'listening'.
    if (isTold || !String(addressType).startsWith('udp') || changeHands()) return;
    isTold = true;
    process.emitWarning(
      `workers of node:cluster receive datagrams at ${address ?? '*'}:${port}; moult cannot hand that over: the new release finds ` +
        'the address in use, and nobody receives there after the old one has exited. Bind it in the primary, or use --slots ' +
        'instead of node:cluster',
      'MoultWarning',
    );
  });
}

function bySymbol(owner: object, description: string): unknown {
  const symbol = symbolOf(owner, description);
  return symbol === undefined ? {} : (owner as Record<symbol, unknown>)[symbol];
}

function symbolOf(owner: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(owner).find((one) => one.description === description);
}

module.exports = { acceptInPrimary, onLeading, onShare, onSharedBind, tellOfDatagrams };
