import { type BindRequest, placeDescriptor } from './bind-hook.js';
import type { DatagramHandle } from './datagram-handle.js';

/** How the primary of node:cluster binds a socket for its workers: Node's own function, and what it is called with. */
export type SharedBindArgs = readonly [
  bind: (this: object, address: string, port: number, flags: number) => number,
  args: readonly [address: string, port: number, flags: number],
];

/** Such a bind: no socket of the primary's own belongs to it. */
export type SharedBindRequest = Omit<BindRequest, 'socket'>;

/** What a bind for workers comes down to. */
export function sharedBind(
  handle: DatagramHandle,
  bind: SharedBindArgs[0],
  [address, port, flags = 0]: SharedBindArgs[1],
): SharedBindRequest {
  const anywhere = address.includes(':') ? '::' : '0.0.0.0';
  return {
    handle,
    address,
    port: Number(port),
    flags,
    fd: undefined,
    proceed: (moreFlags = 0) => bind.call(handle, address, port, flags | moreFlags),
    take: (fd) => placeDescriptor(handle, bind, anywhere, fd),
  };
}
