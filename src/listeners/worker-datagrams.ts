import type { Socket } from 'node:dgram';
import { constants } from 'node:os';
import type { BindRequest } from '../node/listening/bind-hook.js';
import type { DatagramHandle } from '../node/listening/datagram-handle.js';
import { onHandleClose } from '../node/listening/listening-handle.js';
import type { SharedBindRequest } from '../node/listening/shared-bind.js';
import { duplicate, shareAddress } from '../os/descriptors/descriptor.js';
import type { ListenerItem } from '../protocol/messages.js';
import { UV_UDP_REUSEADDR } from './bind.js';
import { DatagramListener } from './datagram-listener.js';
import { datagramName } from './name.js';
import type { ListenerRegistry } from './registry.js';
import { ThreadListener } from './thread-listener.js';

/*
 * Datagram sockets that workers of node:cluster share: the primary binds one, each worker gets a copy and receives by itself. So the
 * primary holds it as it holds what its threads have, and each worker has the gate.
 */

/** The sockets of a primary that are open for its workers, by the names of their listeners. */
const open = new Map<string, DatagramHandle>();

/**
 * What becomes of a bind for workers: it claims an inherited socket of this name, or one that the last workers have left, or
 * binds and registers a new one.
 * @returns 0, or a negative error number of libuv.
 */
export function bindForWorkers(registry: ListenerRegistry, request: SharedBindRequest): number {
  const asked = datagramName(request);
  const left = open.has(asked) ? undefined : registry.named(asked);
  // Those who come in their place find what was sent since.
  if (left instanceof ThreadListener && left.fd >= 0) return noted(asked, request, request.take(left.fd));
  const name = registry.freeName(asked);
  const inherited = registry.inherited.named(name, ['udp']);
  const error = inherited === undefined ? bindAnew(registry, request, name) : request.take(inherited.fd);
  if (error !== 0) return error;
  const item = inherited?.item ?? { name, family: 'udp', path: null, backlog: 0 };
  const fd = inherited?.fd ?? duplicate(request.handle.fd);
  holdForOthers(registry, item, fd, inherited !== undefined);
  return noted(name, request, 0);
}

/**
 * Has a registry hold a socket on which others listen than its own event loop.
 * @param fd belongs to the registry.
 * @param before is given the listener before anybody hears of it.
 */
export function holdForOthers(
  registry: ListenerRegistry,
  item: ListenerItem,
  fd: number,
  isInherited: boolean,
  before: (listener: ThreadListener) => void = () => {},
): ThreadListener {
  const { initialState, closedByService, links } = registry;
  const listener = new ThreadListener(item, fd, initialState, isInherited, closedByService, links);
  before(listener);
  registry.add(listener);
  registry.tell(listener);
  return listener;
}

/** In a worker: what its primary has bound is gated here, and told of there. */
export function shareForWorker(
  registry: ListenerRegistry,
  socket: Socket,
  handle: DatagramHandle,
  asked: Pick<BindRequest, 'address' | 'port' | 'flags'>,
): void {
  const name = registry.freeName(datagramName({ ...asked, fd: undefined }));
  const identity = { name, family: 'udp', path: null } as const;
  const { initialState, closedByService } = registry;
  const fd = duplicate(handle.fd);
  // Whoever bound it, it is not this worker's to hold.
  const listener = new DatagramListener(identity, socket, handle, fd, initialState, true, closedByService);
  registry.add(listener);
  registry.tell(listener);
}

// This generation has closed that port, and the supervisor's copy of it closes in a moment.
function bindAnew(registry: ListenerRegistry, request: SharedBindRequest, name: string): number {
  const error = request.proceed();
  if (error !== -constants.errno.EADDRINUSE || !registry.hasGivenUp(name)) return error;
  const beside = request.proceed(UV_UDP_REUSEADDR);
  if (beside === 0 && (request.flags & UV_UDP_REUSEADDR) === 0) shareAddress(request.handle.fd, false);
  return beside;
}

function noted(name: string, { handle }: SharedBindRequest, error: number): number {
  if (error === 0) {
    open.set(name, handle);
    onHandleClose(handle, () => open.get(name) === handle && open.delete(name));
  }
  return error;
}
