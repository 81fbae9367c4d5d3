/*
 * What a service that looks whether its port is taken gets to see: nobody, while the port is held for it. CommonJS and
 * without any import of moult's own, as hooks.cts.
 */
const net: typeof import('node:net') = require('node:net');
const os: typeof import('node:os') = require('node:os');
const path: typeof import('node:path') = require('node:path');

type Socket = import('node:net').Socket;

/** Where a connection is to go, after Node read its arguments. */
interface Target {
  readonly path?: string | null | undefined;
  readonly port?: number | string | undefined;
  readonly host?: string | undefined;
}

type Connect = (this: Socket, ...args: unknown[]) => Socket;

/**
 * Refuses connections of this process to listeners that are held for it, and on which it does not listen yet. Other
 * processes reach whoever accepts there.
 * @param held the names of these listeners; asked at each connection.
 */
function refuseConnectionsTo(held: () => readonly string[]): void {
  const prototype = net.Socket.prototype as unknown as { connect: Connect };
  const original = prototype.connect;
  // Source: node lib/net.js, normalizeArgs: [options, callback].
  const read = (net as unknown as { _normalizeArgs?: (args: unknown[]) => [Target, unknown] })._normalizeArgs;
  if (typeof read !== 'function') return;
  prototype.connect = function (this: Socket, ...args: unknown[]): Socket {
    const names = held();
    if (names.length === 0) return original.apply(this, args);
    const [target, callback] = Array.isArray(args[0]) ? (args[0] as [Target, unknown]) : read(args);
    return names.some((name) => leadsTo(target, name))
      ? refuse(this, target, callback)
      : original.apply(this, args);
  };
}

// As node:net reports it: an 'error' event in the next turn.
function refuse(
  socket: Socket,
  { path: where, port, host = 'localhost' }: Target,
  callback: unknown,
): Socket {
  if (typeof callback === 'function') socket.once('connect', callback as () => void);
  const address = where || host;
  const place = where || `${host}:${port}`;
  const error = Object.assign(new Error(`connect ECONNREFUSED ${place}`), {
    errno: -os.constants.errno.ECONNREFUSED,
    code: 'ECONNREFUSED',
    syscall: 'connect',
    address,
    ...(where ? {} : { port: Number(port) }),
  });
  Object.assign(socket, { connecting: true });
  process.nextTick(() => socket.destroy(error));
  return socket;
}

/** Whether a connection to this target would come to the listener of this name. */
function leadsTo({ path: where, port, host }: Target, name: string): boolean {
  // Source: node lib/net.js, Socket.prototype.connect: a path that is empty or null is none.
  if (where) {
    if (!name.startsWith('unix:')) return false;
    const bound = name.slice('unix:'.length);
    return where.startsWith('\0')
      ? bound === `@${where.slice(1)}`
      : path.resolve(bound) === path.resolve(where);
  }
  const [, listens, own] = /^tcp:\/\/(\*|\[[^\]]+\]|[^:]+):(\d+)/.exec(name) ?? [];
  if (listens === undefined || own === undefined || Number(own) !== Number(port)) return false;
  return addressesOf(host ?? 'localhost').some((address) => accepts(listens, address));
}

function accepts(listens: string, address: string): boolean {
  if (listens === '*' || listens === '[::]') return isLocal(address);
  if (listens === '0.0.0.0') return net.isIPv4(address) && isLocal(address);
  return listens === (net.isIPv6(address) ? `[${address}]` : address);
}

function addressesOf(host: string): string[] {
  if (host === 'localhost') return ['127.0.0.1', '::1'];
  if (host === '0.0.0.0' || host === '') return ['127.0.0.1'];
  if (host === '::') return ['::1', '127.0.0.1'];
  return [host.replace(/^::ffff:(?=[\d.]+$)/i, '')];
}

function isLocal(address: string): boolean {
  if (address === '::1' || /^127\.[\d.]+$/.test(address)) return true;
  return Object.values(os.networkInterfaces()).some((all) => all?.some((one) => one.address === address));
}

module.exports = { refuseConnectionsTo, leadsTo };
