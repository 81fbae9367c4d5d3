import { unlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { handleOf, setHandle } from '../node/handle.js';
import type { ListenRequest } from '../node/listening/listen-hook.js';
import {
  behindGate,
  closeHandle,
  listeningHandle,
  onHandleClose,
  putOffAccess,
  shutGate,
} from '../node/listening/listening-handle.js';
import { resumeTickets } from '../node/tls-tickets.js';
import { closeDescriptor, duplicate } from '../os/descriptors/descriptor.js';
import { socketIdentity } from '../os/sockets/socket-identity.js';
import { byMoult } from '../os/unix-sockets/socket-file.js';
import { bindUnix, isAbandoned, MAX_SOCKET_PATH_BYTES } from '../os/unix-sockets/unix-socket.js';
import type { Inherited } from './inherited-sockets.js';
import type { ListenerIdentity } from './listener.js';
import { listenerName, momentaryName, otherNames } from './name.js';
import type { ListenerRegistry } from './registry.js';
import { StreamListener } from './stream-listener.js';

/**
 * What becomes of a `listen()` of the service: it claims an inherited socket of this name, or binds and
 * registers a new one. @param proceed does what Node would have done.
 */
export function listen(registry: ListenerRegistry, request: ListenRequest, proceed: () => void): void {
  registry.failedListens.watch(request);
  if (handleOf(request.server) !== undefined) {
    share(registry, request, proceed);
    return;
  }
  const wanted = wantedName(registry, request);
  const shared = registry.takeFromThreads(wanted);
  const name = registry.freeName(wanted);
  const inherited =
    shared ??
    registry.inherited.named(name, ['tcp', 'unix']) ??
    registry.inherited.lasting(otherNames(request)) ??
    inheritedAtPath(registry, request);
  const other = inherited === undefined ? registry.inherited.overlapping(request) : undefined;
  if (inherited !== undefined) claimAtPath(registry, request, inherited, proceed);
  else if (other !== undefined) standIn(registry, request, other, proceed);
  else if (isUnixPath(request)) bindPath(registry, request, name, proceed);
  else bindAddress(registry, request, name, proceed);
}

// Who looks for a free port first, by listening on any, asks for the one that it was given then.
function wantedName(registry: ListenerRegistry, request: ListenRequest): string {
  const wanted = listenerName(request);
  const given = request.port > 0 ? registry.nameOfGivenPort(request.port) : undefined;
  const inherited = given === undefined ? undefined : registry.inherited.named(given, ['tcp']);
  const isAny = given !== undefined && listenerName({ ...request, port: 0 }) === unnumbered(given);
  return isAny && (inherited === undefined || portOf(inherited.fd) === request.port)
    ? unnumbered(given)
    : wanted;
}

function unnumbered(name: string): string {
  return name.replace(/#\d+$/, '');
}

function portOf(fd: number): number | undefined {
  const address = socketIdentity(fd)?.address;
  return address !== undefined && 'port' in address ? address.port : undefined;
}

/**
 * The server asks for another form of an address that is held for the service, such as every address. As it would where
 * nobody else has the port, it listens, but on a socket that is not its own: programs that look whether a port is free ask so, and
 * close at once. The registry tells of one that stays.
 */
function standIn(
  registry: ListenerRegistry,
  request: ListenRequest,
  { item, fd }: Inherited,
  proceed: () => void,
): void {
  const handle = listeningHandle(fd);
  shutGate(handle);
  setHandle(request.server, handle);
  const bindAnew = () => {
    closeHandle(handle);
    setHandle(request.server, null);
    bindAddress(registry, request, registry.freeName(listenerName(request)), proceed);
  };
  onHandleClose(handle, registry.standsIn(listenerName(request), item.name, bindAnew));
  proceed();
}

function inheritedAtPath(registry: ListenerRegistry, request: ListenRequest): Inherited | undefined {
  const path = pathOf(request);
  return path === undefined ? undefined : registry.inherited.atPath(path);
}

/**
 * Has a server listen on a socket that the registry has inherited. A Unix listener is its socket and its path: clients must
 * find it where this service asked for it.
 */
export function claimAtPath(
  registry: ListenerRegistry,
  request: ListenRequest,
  inherited: Inherited,
  proceed: () => void,
): void {
  const { file, name } = inherited.item;
  const path = pathOf(request);
  if (file === undefined || path === undefined || registry.links === undefined) {
    claim(registry, request, inherited, proceed);
    return;
  }
  const outcome = registry.links.restore(path, file);
  if (outcome === 'taken') failListen(request, 'EADDRINUSE');
  else if (outcome === 'lost') bindAgain(registry, request, name, proceed);
  else claim(registry, request, inherited, proceed, path);
}

// No name of the socket is left to be given: another socket takes its place, and serves also who waits on the first.
function bindAgain(
  registry: ListenerRegistry,
  request: ListenRequest,
  name: string,
  proceed: () => void,
): void {
  bindPath(registry, request, name, proceed);
  const listener = registry.named(name);
  if (!(listener instanceof StreamListener) || listener.server !== request.server) return;
  const before = registry.inherited.take(name)?.fd;
  if (before !== undefined) listener.alsoServe(before);
}

// @param path where this service asked for it.
function claim(
  registry: ListenerRegistry,
  request: ListenRequest,
  { item, fd }: Inherited,
  proceed: () => void,
  path?: string,
): void {
  const handle = listeningHandle(fd);
  setHandle(request.server, handle);
  if (item.family === 'unix') putOffAccess(handle, (change) => registry.whenOpen(change));
  const { name, family, file, lasting } = item;
  // One that others opened is theirs to remove.
  const own = item.path === null ? null : (path ?? item.path);
  const listener = new StreamListener(
    { name, family, path: own, file, links: registry.links, isLasting: lasting === true },
    request.server,
    handle,
    fd,
    request.backlog || item.backlog,
    registry.initialState,
    true,
    registry.closedByService,
  );
  listener.meetsPipelining = item.meetsPipelining === true;
  listener.wasUnhandled = item.unhandled;
  registry.add(listener);
  resumeTickets(request.server, item);
  proceed();
  noteGivenPort(registry, request, item.name);
  registry.tell(listener);
}

function bindAddress(
  registry: ListenerRegistry,
  request: ListenRequest,
  name: string,
  proceed: () => void,
): void {
  if (registry.initialState === 'gated') behindGate(proceed);
  else proceed();
  const handle = handleOf(request.server);
  // Node reports the failure of a bind through the server's 'error' event; there is nothing to register.
  if (handle === undefined || handle.fd < 0) return;
  const family = request.port >= 0 || typeof request.server.address() === 'object' ? 'tcp' : 'unix';
  register(registry, request, { name, family, path: null });
}

// A path must be owned by no handle of Node, which would remove it when it stops accepting.
function bindPath(
  registry: ListenerRegistry,
  request: ListenRequest,
  name: string,
  proceed: () => void,
): void {
  const path = request.address ?? '';
  const bound = bind(path);
  if (typeof bound === 'string') {
    failListen(request, bound);
    return;
  }
  try {
    const handle = listeningHandle(bound);
    if (registry.initialState === 'gated') shutGate(handle);
    setHandle(request.server, handle);
  } finally {
    closeDescriptor(bound);
  }
  const absolute = pathOf(request) ?? null;
  const file = absolute === null ? undefined : registry.links?.keep(absolute);
  proceed();
  register(registry, request, { name, family: 'unix', path: absolute, file, links: registry.links });
}

// The service gave a handle of its own, or that of another of its servers.
function share(registry: ListenerRegistry, request: ListenRequest, proceed: () => void): void {
  const handle = handleOf(request.server);
  proceed();
  if (handle === undefined || handle.fd < 0) return;
  const known = registry.streams().find((listener) => handleOf(listener.server) === handle);
  if (known !== undefined) registry.share(known, request.server);
  else
    register(registry, request, {
      name: registry.freeName(listenerName(request)),
      family: 'tcp',
      path: null,
    });
}

function noteGivenPort(registry: ListenerRegistry, request: ListenRequest, name: string): void {
  const address = request.port === 0 ? request.server.address() : null;
  if (typeof address === 'object' && address !== null) registry.gavePort(address.port, name);
}

// A port of which nobody can know beforehand is passed on to a successor only where it is opened at the start, as that one will.
function withLife(
  registry: ListenerRegistry,
  request: ListenRequest,
  identity: ListenerIdentity,
): ListenerIdentity {
  const address = request.port === 0 ? request.server.address() : null;
  if (typeof address !== 'object' || address === null || !registry.opensForMoment()) return identity;
  return { ...identity, name: momentaryName(identity.name, address.port), isMomentary: true };
}

function register(registry: ListenerRegistry, request: ListenRequest, asked: ListenerIdentity): void {
  const handle = handleOf(request.server);
  if (handle === undefined) return;
  const identity = withLife(registry, request, asked);
  noteGivenPort(registry, request, asked.name);
  const listener = new StreamListener(
    identity,
    request.server,
    handle,
    duplicate(handle.fd),
    request.backlog,
    registry.initialState,
    false,
    registry.closedByService,
  );
  registry.add(listener);
  registry.tell(listener);
}

/** The path that was asked for, wherever this process goes later; undefined where none was, or an abstract name. */
function pathOf(request: ListenRequest): string | undefined {
  const { address } = request;
  return isUnixPath(request) && address !== null && !address.startsWith('\0') ? resolve(address) : undefined;
}

function isUnixPath(request: ListenRequest): boolean {
  return request.fd === undefined && request.port < 0 && request.address !== null;
}

// The descriptor, or the name of the error as Node gives it.
function bind(path: string): number | string {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) return 'EINVAL';
  let bound = bindUnix(path);
  // The path of a socket that is gone, such as one that a service manager kept and dropped, is in nobody's use.
  if (bound === 'EADDRINUSE' && isAbandoned(path)) {
    byMoult(() => unlinkSync(path));
    bound = bindUnix(path);
  }
  // Source: libuv src/unix/pipe.c, uv_pipe_bind2: ENOENT becomes EACCES.
  return bound === 'ENOENT' ? 'EACCES' : bound;
}

/** As node:net reports a failed bind: an 'error' event in the next turn. */
export function failListen(request: ListenRequest, code: string): void {
  const [errno, [, description]] =
    [...getSystemErrorMap()].find(([number]) => getSystemErrorName(number) === code) ??
    ([0, [code, code]] as const);
  const error = Object.assign(new Error(`listen ${code}: ${description} ${request.address}`), {
    code,
    errno,
    syscall: 'listen',
    address: request.address,
    port: request.port,
  });
  process.nextTick(() => request.server.emit('error', error));
}
