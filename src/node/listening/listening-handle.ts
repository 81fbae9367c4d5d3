import { type Server, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { closeDescriptor, duplicate } from '../../os/descriptors/descriptor.js';
import { unboundTcpSocket } from '../../os/unix-sockets/unix-socket.js';
import { handleOf, type StreamHandle, setHandleOf, symbolOf } from '../handle.js';

/**
 * A handle of Node on a bound socket, with a descriptor of its own. It does not accept before `listen`.
 * Source: node lib/net.js, Socket constructor with `fd`: the kind of handle follows the kind of descriptor.
 */
export function listeningHandle(fd: number): StreamHandle {
  const own = duplicate(fd);
  try {
    return handleOn(own);
  } catch (error) {
    closeDescriptor(own);
    throw error;
  }
}

/** The same, on this very descriptor, which belongs to the handle from then on. */
export function handleOn(fd: number): StreamHandle {
  const vehicle = new Socket({ fd, manualStart: true, readable: false, writable: false } as object);
  const handle = setHandleOf(vehicle, null);
  if (handle === undefined) throw new TypeError('a socket made from a descriptor has no handle');
  return handle;
}

/** Holds a handle back from accepting: `listen` only records the backlog, until {@link openGate}. */
export function shutGate(handle: StreamHandle): void {
  Object.defineProperty(handle, 'listen', { configurable: true, writable: true, value: () => 0 });
}

/**
 * Lets a handle accept from now on.
 * @returns 0, or a negative error number of libuv.
 */
export function openGate(handle: StreamHandle, backlog: number): number {
  Reflect.deleteProperty(handle, 'listen');
  return handle.listen(backlog);
}

/** Gives a new handle what makes connections of the old one reach its server. */
export function inheritOwner(from: StreamHandle, to: StreamHandle): void {
  to.onconnection = from.onconnection;
  const owner = symbolOf(from, 'owner_symbol');
  if (owner !== undefined) {
    (to as unknown as Record<symbol, unknown>)[owner] = (from as unknown as Record<symbol, unknown>)[owner];
  }
}

/**
 * Asks before each connection that a server has accepted reaches it, and before each failure to accept one does.
 * @param stops whether it accepts no more: then the server does not hear of a failure. Source: node lib/net.js, onconnection.
 */
export function beforeAccepting(server: Server, stops: () => boolean): void {
  const handle = handleOf(server);
  const own = handle?.onconnection as ((...args: unknown[]) => void) | undefined;
  if (handle === undefined || typeof own !== 'function') return;
  handle.onconnection = function (this: unknown, status: unknown, ...args: unknown[]): void {
    if (!stops() || !status) Reflect.apply(own, this, [status, ...args]);
  };
}

/** Closes a handle past any `close` that was put on it. */
export function closeHandle(handle: StreamHandle): void {
  const { close } = Object.getPrototypeOf(handle) as StreamHandle;
  close.call(handle);
}

interface Closable {
  close(callback?: () => void): void;
}

/** Calls back when somebody closes the handle, before it is closed. */
export function onHandleClose(handle: Closable, callback: () => void): void {
  Object.defineProperty(handle, 'close', {
    configurable: true,
    writable: true,
    value: (done?: () => void) => {
      Reflect.deleteProperty(handle, 'close');
      callback();
      handle.close(done);
    },
  });
}

/**
 * Runs a bind of Node so that the TCP handles that it makes do not accept, but stand behind a gate.
 * libuv tells only at `listen` that an address was taken; here it is told at the bind all the same.
 * Source: libuv src/unix/tcp.c, uv__tcp_bind: EADDRINUSE is kept as delayed_error.
 */
export function behindGate(bind: () => void): void {
  const prototype = tcpPrototype();
  const own = prototype.listen;
  prototype.listen = function (this: StreamHandle & Named): number {
    const name: { port?: number } = {};
    this.getsockname(name);
    if (!name.port) return own.call(this, 1);
    shutGate(this);
    return 0;
  };
  try {
    bind();
  } finally {
    prototype.listen = own;
  }
}

interface Named {
  getsockname(out: { port?: number }): number;
}

let knownTcpPrototype: StreamHandle | undefined;

function tcpPrototype(): StreamHandle {
  if (knownTcpPrototype === undefined) {
    const fd = unboundTcpSocket();
    const handle = listeningHandle(fd);
    closeDescriptor(fd);
    knownTcpPrototype = Object.getPrototypeOf(handle) as StreamHandle;
    closeHandle(handle);
  }
  return knownTcpPrototype;
}

/**
 * Has `listen({ readableAll, writableAll })` change who may connect later. Source: node lib/net.js, Server.prototype.listen;
 * src/pipe_wrap.cc, PipeWrap::Fchmod.
 * @param later is given the change to be made.
 */
export function putOffAccess(handle: StreamHandle, later: (change: () => void) => void): void {
  const { fchmod } = handle as StreamHandle & { fchmod?: (mode: number) => number };
  if (fchmod === undefined) return;
  Object.defineProperty(handle, 'fchmod', {
    configurable: true,
    writable: true,
    value: (mode: number) => {
      later(() => {
        const error = fchmod.call(handle, mode);
        if (error !== 0) throw new Error(getSystemErrorName(error));
      });
      return 0;
    },
  });
}
