import { constants } from 'node:os';
import type { BindRequest } from '../node/listening/bind-hook.js';
import { stopReceiving } from '../node/listening/datagram-handle.js';
import { onHandleClose } from '../node/listening/listening-handle.js';
import { duplicate, shareAddress } from '../os/descriptors/descriptor.js';
import { DatagramListener } from './datagram-listener.js';
import type { Inherited } from './inherited-sockets.js';
import { datagramName } from './name.js';
import type { ListenerRegistry } from './registry.js';

/** Source: libuv include/uv.h, uv_udp_flags. */
export const UV_UDP_REUSEADDR = 4;

/**
 * What becomes of a datagram socket's `bind()` of the service: it claims an inherited socket of this name, or
 * binds and registers a new one.
 * @returns 0, or a negative error number of libuv, as Node expects it of a bind.
 */
export function bind(registry: ListenerRegistry, request: BindRequest): number {
  const name = registry.freeName(datagramName(request));
  const inherited = registry.inherited.named(name, ['udp']);
  return inherited === undefined ? bindAnew(registry, request, name) : claim(registry, request, inherited);
}

function claim(registry: ListenerRegistry, request: BindRequest, { item, fd }: Inherited): number {
  const error = request.take(fd);
  if (error === 0) add(registry, request, item.name, fd, true, item.lasting);
  return error;
}

function bindAnew(registry: ListenerRegistry, request: BindRequest, name: string): number {
  let error = request.proceed();
  if (error === -constants.errno.EADDRINUSE) {
    const held = registry.inherited.overlapping(
      { address: request.address, port: request.port, fd: request.fd, flags: request.flags },
      'udp',
    );
    if (held !== undefined) return standIn(registry, request, held, name);
  }
  if (error === -constants.errno.EADDRINUSE && registry.hasGivenUp(name)) error = bindBeside(request);
  if (error === 0) add(registry, request, name, duplicate(request.handle.fd), false);
  return error;
}

// As a server that asks for another form of what is held: it has a socket that is not its own, and receives nothing.
function standIn(
  registry: ListenerRegistry,
  request: BindRequest,
  { item, fd }: Inherited,
  name: string,
): number {
  const error = request.take(fd);
  if (error !== 0) return error;
  stopReceiving(request.handle);
  onHandleClose(
    request.handle,
    registry.standsIn(name, item.name, () => {}),
  );
  return 0;
}

// This generation has closed that port, and the supervisor's copy of it closes in a moment.
function bindBeside(request: BindRequest): number {
  const error = request.proceed(UV_UDP_REUSEADDR);
  if (error === 0 && (request.flags & UV_UDP_REUSEADDR) === 0) shareAddress(request.handle.fd, false);
  return error;
}

function add(
  registry: ListenerRegistry,
  request: BindRequest,
  name: string,
  fd: number,
  isInherited: boolean,
  isLasting = false,
): void {
  const identity = { name, family: 'udp', path: null, isLasting } as const;
  const { socket, handle } = request;
  const { initialState, closedByService } = registry;
  const listener = new DatagramListener(
    identity,
    socket,
    handle,
    fd,
    initialState,
    isInherited,
    closedByService,
  );
  registry.add(listener);
  registry.tell(listener);
}
