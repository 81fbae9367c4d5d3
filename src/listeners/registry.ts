import type { Server } from 'node:net';
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { handleOf, setHandle } from '../node/handle.js';
import type { ListenRequest } from '../node/listen-hook.js';
import { behindGate, listeningHandle, shutGate } from '../node/listening-handle.js';
import { offerTickets, resumeTickets } from '../node/tls-tickets.js';
import { closeDescriptor, duplicate } from '../os/descriptor.js';
import { bindUnix, MAX_SOCKET_PATH_BYTES } from '../os/unix-socket.js';
import type { ListenerItem } from '../protocol/messages.js';
import { Listener, type ListenerIdentity, type ListenerState } from './listener.js';
import { freeName, listenerName } from './name.js';

/** What the registry tells of. */
export interface RegistryEvents {
  /** The service bound a new socket; it accepts, or will when the gates open. */
  bound(listener: Listener): void;
  /** The service claimed an inherited one. */
  claimed(listener: Listener): void;
  /** The service closed one that was its own to close. */
  closed(listener: Listener): void;
}

interface Inherited {
  readonly item: ListenerItem;
  readonly fd: number;
}

/** The listeners of this generation: those that it inherited and has not claimed, and those that are its own. */
export class ListenerRegistry {
  #inherited = new Map<string, Inherited>();
  #own = new Map<string, Listener>();
  #byServer = new WeakMap<Server, Listener>();
  #gatesShut: boolean;
  #events: RegistryEvents;

  /** @param gatesShut whether listeners wait for {@link openGates}. */
  constructor(gatesShut: boolean, events: RegistryEvents) {
    this.#gatesShut = gatesShut;
    this.#events = events;
  }

  /** Takes over descriptors of listening sockets, in the order of their descriptions. */
  inherit(items: readonly ListenerItem[], descriptors: readonly number[]): void {
    items.forEach((item, i) => {
      const fd = descriptors[i];
      if (fd !== undefined) this.#inherited.set(item.name, { item, fd });
    });
  }

  /** The listeners that are open, gated or paused. */
  own(): Listener[] {
    return [...this.#own.values()];
  }

  /** The names that were inherited and not claimed yet. */
  unclaimed(): string[] {
    return [...this.#inherited.keys()];
  }

  /** The listener to which a server belongs. */
  of(server: Server): Listener | undefined {
    return this.#byServer.get(server);
  }

  /** The listener of this name. */
  named(name: string): Listener | undefined {
    return this.#own.get(name);
  }

  /** Lets every claimed listener accept, in the order of the claims. */
  openGates(): void {
    this.#gatesShut = false;
    for (const listener of this.#own.values()) listener.open();
  }

  /** Accepts no more on any of them. */
  pause(): void {
    for (const listener of this.#own.values()) listener.pause();
  }

  /** Accepts again on all of them. */
  resume(): void {
    for (const listener of this.#own.values()) listener.resume();
  }

  /** Closes the copies of what was inherited and never claimed. */
  dropUnclaimed(): void {
    for (const { fd } of this.#inherited.values()) closeDescriptor(fd);
    this.#inherited.clear();
  }

  /** Gives one up. @param everywhere closes the port for every process. */
  release(listener: Listener, everywhere: boolean): void {
    this.#own.delete(listener.identity.name);
    listener.release(everywhere);
  }

  /** The open listeners as a successor is told of them, and their descriptors in the same order. */
  describe(): { items: ListenerItem[]; descriptors: number[] } {
    const listeners = this.own().filter((listener) => listener.fd >= 0);
    return { items: listeners.map(itemOf), descriptors: listeners.map((listener) => listener.fd) };
  }

  /** The hook of `listen()`: claims an inherited socket of this name, or binds and registers a new one. */
  handle(request: ListenRequest, proceed: () => void): void {
    if (handleOf(request.server) !== undefined) {
      this.#share(request, proceed);
      return;
    }
    const name = freeName(listenerName(request), (candidate) => this.#own.has(candidate));
    const inherited = this.#inherited.get(name);
    if (inherited !== undefined) this.#claim(request, inherited, proceed);
    else if (isUnixPath(request)) this.#bindPath(request, name, proceed);
    else this.#bind(request, name, proceed);
  }

  #claim(request: ListenRequest, { item, fd }: Inherited, proceed: () => void): void {
    const handle = listeningHandle(fd);
    setHandle(request.server, handle);
    this.#inherited.delete(item.name);
    const backlog = request.backlog || item.backlog;
    const listener = this.#add(
      request.server,
      identityOf(item),
      fd,
      backlog,
      this.#gatesShut ? 'gated' : 'open',
      true,
    );
    listener.meetsPipelining = item.meetsPipelining === true;
    resumeTickets(request.server, item);
    proceed();
    this.#events.claimed(listener);
  }

  #bind(request: ListenRequest, name: string, proceed: () => void): void {
    if (this.#gatesShut) behindGate(proceed);
    else proceed();
    const handle = handleOf(request.server);
    // Node reports the failure of a bind through the server's 'error' event; there is nothing to register.
    if (handle === undefined || handle.fd < 0) return;
    const family = request.port >= 0 || typeof request.server.address() === 'object' ? 'tcp' : 'unix';
    this.#register(request, { name, family, path: null });
  }

  // A path must be owned by no handle of Node, which would remove it when it stops accepting.
  #bindPath(request: ListenRequest, name: string, proceed: () => void): void {
    const path = request.address ?? '';
    const bound = bind(path);
    if (typeof bound === 'string') {
      failListen(request, bound);
      return;
    }
    try {
      const handle = listeningHandle(bound);
      if (this.#gatesShut) shutGate(handle);
      setHandle(request.server, handle);
    } finally {
      closeDescriptor(bound);
    }
    proceed();
    this.#register(request, { name, family: 'unix', path: path.startsWith('\0') ? null : path });
  }

  // The service gave a handle of its own, or that of another of its servers.
  #share(request: ListenRequest, proceed: () => void): void {
    const handle = handleOf(request.server);
    proceed();
    if (handle === undefined || handle.fd < 0) return;
    const known = this.own().find((listener) => handleOf(listener.server) === handle);
    if (known !== undefined) {
      known.belongTo(request.server);
      this.#byServer.set(request.server, known);
      this.#events.claimed(known);
      return;
    }
    const name = freeName(listenerName(request), (candidate) => this.#own.has(candidate));
    this.#register(request, { name, family: 'tcp', path: null });
  }

  #register(request: ListenRequest, identity: ListenerIdentity): void {
    const handle = handleOf(request.server);
    if (handle === undefined) return;
    const state = this.#gatesShut ? 'gated' : 'open';
    const listener = this.#add(request.server, identity, duplicate(handle.fd), request.backlog, state, false);
    this.#events.bound(listener);
  }

  #add(
    server: Server,
    identity: ListenerIdentity,
    fd: number,
    backlog: number,
    state: 'gated' | 'open',
    isInherited: boolean,
  ): Listener {
    const handle = handleOf(server);
    if (handle === undefined) throw new TypeError('a listening server has no handle');
    const closed = (listener: Listener, was: ListenerState) => this.#closedByService(listener, was);
    const listener = new Listener(identity, server, handle, fd, backlog, state, isInherited, closed);
    this.#own.set(identity.name, listener);
    this.#byServer.set(server, listener);
    return listener;
  }

  #closedByService(listener: Listener, was: ListenerState): void {
    this.#own.delete(listener.identity.name);
    if (was === 'gated' && !listener.isInherited) {
      // Bound by this generation alone, and wanted no more before anybody could reach it.
      listener.release(true);
      return;
    }
    if (was === 'gated') {
      // It was never ours: the predecessor accepts on it. It may be claimed again.
      const fd = listener.surrenderDescriptor();
      if (fd >= 0) this.#inherited.set(listener.identity.name, { item: itemOf(listener), fd });
      return;
    }
    // After commit a paused one is the successor's; only our copy goes.
    listener.release(was === 'open');
    if (was === 'open') this.#events.closed(listener);
  }
}

function isUnixPath(request: ListenRequest): boolean {
  return request.fd === undefined && request.port < 0 && request.address !== null;
}

function identityOf(item: ListenerItem): ListenerIdentity {
  return { name: item.name, family: item.family, path: item.path };
}

/** A listener as other processes are told of it. */
export function itemOf(listener: Listener): ListenerItem {
  const { name, family, path } = listener.identity;
  const pipelining = listener.meetsPipelining ? { meetsPipelining: true } : {};
  return { name, family, path, backlog: listener.backlog, ...pipelining, ...offerTickets(listener.server) };
}

// The descriptor, or the name of the error as Node gives it.
function bind(path: string): number | string {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) return 'EINVAL';
  const bound = bindUnix(path);
  // Source: libuv src/unix/pipe.c, uv_pipe_bind2: ENOENT becomes EACCES.
  return bound === 'ENOENT' ? 'EACCES' : bound;
}

// As node:net reports a failed bind: an 'error' event in the next turn.
function failListen(request: ListenRequest, code: string): void {
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
