import type { Socket } from 'node:dgram';
import { replaceDescriptorPrivately, unblock } from '../../os/descriptors/descriptor.js';
import { type DatagramHandle, datagramHandleOf, override } from './datagram-handle.js';

/** What a `bind()` of a datagram socket came down to, after Node read its arguments and looked up its host. */
export interface BindRequest {
  readonly socket: Socket;
  readonly handle: DatagramHandle;
  /** The address to bind to; null for a descriptor. */
  readonly address: string | null;
  /** The port; -1 for a descriptor. */
  readonly port: number;
  /** libuv's bind flags, such as UV_UDP_REUSEADDR. */
  readonly flags: number;
  /** The descriptor of `bind({ fd })`. */
  readonly fd: number | undefined;
  /**
   * Does what Node would have done. @param moreFlags to set beside those that were asked for.
   * @returns 0, or a negative error number of libuv.
   */
  proceed(moreFlags?: number): number;
  /**
   * Gives the socket a copy of a bound descriptor in place of a socket of its own.
   * @returns 0, or a negative error number of libuv.
   */
  take(fd: number): number;
}

/** Decides what becomes of a request; what it returns is what Node takes for the result of the bind. */
export type BindHook = (request: BindRequest) => number;

const hooked = new WeakSet<DatagramHandle>();

/**
 * Lets a hook decide about the next bind of this socket. Binds to port 0 never come to it: a port that
 * the system picks is one that a client sends from, and nobody else knows of it.
 * Source: node lib/dgram.js, Socket.prototype.bind and bindSync: both end in `handle.bind` or `handle.open`.
 */
export function hookBind(socket: Socket, hook: BindHook): void {
  const handle = datagramHandleOf(socket);
  if (handle === undefined || hooked.has(handle)) return;
  hooked.add(handle);
  const { bind, open } = handle;
  const { type } = socket as Socket & { type?: string };
  const take = (fd: number) => placeDescriptor(handle, bind, type === 'udp6' ? '::' : '0.0.0.0', fd);
  override(handle, 'bind', (address: string, port: number, flags: number) => {
    const proceed = (moreFlags = 0) => bind.call(handle, address, port, (flags ?? 0) | moreFlags);
    if (!(Number(port) > 0)) return proceed();
    return hook({
      socket,
      handle,
      address,
      port: Number(port),
      flags: flags ?? 0,
      fd: undefined,
      proceed,
      take,
    });
  });
  override(handle, 'open', (fd: number) => {
    const proceed = () => open.call(handle, fd);
    return hook({ socket, handle, address: null, port: -1, flags: 0, fd, proceed, take });
  });
}

/**
 * Gives a handle a copy of a bound descriptor in place of a socket of its own.
 * @param bind how it is bound, to any port of this address.
 * @returns 0, or a negative error number of libuv.
 */
// Not by the handle's `open`: that makes the shared socket's address free for others to bind (SO_REUSEADDR),
// does not tell libuv that it is IPv6, and fails after a bind that has failed. So a socket is bound as
// usual, somewhere, and the descriptor is put in its place. Source: libuv src/unix/udp.c, uv_udp_open.
export function placeDescriptor(
  handle: DatagramHandle,
  bind: DatagramHandle['bind'],
  anywhere: string,
  fd: number,
): number {
  const error = bind.call(handle, anywhere, 0, 0);
  if (error !== 0) return error;
  // One that a socket unit of systemd has bound blocks.
  unblock(fd);
  replaceDescriptorPrivately(fd, handle.fd);
  return 0;
}
