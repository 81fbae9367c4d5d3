import { closeSync, linkSync } from 'node:fs';
import type { Server } from 'node:net';
import { dirname, resolve } from 'node:path';
import { failListen } from '../../listeners/listen.js';
import { freeName, listenerName, otherNames } from '../../listeners/name.js';
import { handleOf, namePipe, type StreamHandle, setHandle } from '../../node/handle.js';
import { steerAccepted } from '../../node/listening/accepted.js';
import type { ListenRequest } from '../../node/listening/listen-hook.js';
import {
  closeHandle,
  handleOn,
  onHandleClose,
  openGate,
  shutGate,
} from '../../node/listening/listening-handle.js';
import { wallClockMs } from '../../os/clock.js';
import { tryToRemove } from '../../os/files/remove.js';
import { MAX_SOCKET_PATH_BYTES } from '../../os/unix-sockets/unix-socket.js';
import type { ListenerItem } from '../../protocol/messages.js';
import type { PassedListener } from '../environment.js';

/** The default of Node. Source: Node's documentation, server.listen(). */
const BACKLOG = 511;

interface Open {
  readonly name: string;
  readonly server: Server;
  readonly handle: StreamHandle;
  readonly backlog: number;
  readonly path: string | null;
  readonly family: 'tcp' | 'unix';
  /** Whether it was passed at the start. */
  readonly isPassed: boolean;
  state: 'gated' | 'open' | 'stopped';
}

/** What becomes of the listeners. */
export interface AddonlessListenerEvents {
  /** A server listens, or will once its gate is open. */
  opened(server: Server): void;
  /** The service has closed one. */
  closed(name: string): void;
  /** Whether a connection that was accepted is the supervisor's. */
  takes(accepted: StreamHandle, name: string): boolean;
}

/** The listeners of a process that calls no libc: those that it has had from its start, by name, and those that it opens. */
export class AddonlessListeners {
  readonly closedAt = new Map<string, number>();
  readonly #passed: Map<string, PassedListener>;
  readonly #open = new Map<string, Open>();
  readonly #events: AddonlessListenerEvents;
  #isOpen: boolean;

  constructor(passed: readonly PassedListener[], events: AddonlessListenerEvents) {
    this.#passed = new Map(passed.map((one) => [one.name, one]));
    this.#events = events;
    this.#isOpen = passed.length === 0;
  }

  get size(): number {
    return this.#open.size;
  }

  has(server: Server): boolean {
    return [...this.#open.values()].some((one) => one.server === server);
  }

  /** The first server of the service. */
  first(): Server | undefined {
    return this.#open.values().next().value?.server;
  }

  names(): string[] {
    return [...this.#open.keys()];
  }

  /** Those that were not passed. */
  newNames(): string[] {
    return [...this.#open.values()].flatMap(({ name, isPassed }) => (isPassed ? [] : [name]));
  }

  /** Those that were passed, and on which nobody listens. */
  unclaimed(): string[] {
    return [...this.#passed.keys()];
  }

  /** For a look from outside. */
  sockets(): { state: string; identity: { name: string } }[] {
    return [...this.#open.values()].map(({ state, name }) => ({ state, identity: { name } }));
  }

  described(): { name: string; address: Record<string, unknown> }[] {
    return [...this.#open.values()].map(({ name, server, path }) => {
      const address = this.#isStopped(name) ? null : server.address();
      return { name, address: typeof address === 'object' && address !== null ? { ...address } : { path } };
    });
  }

  /** A server is about to listen. @param proceed does what Node would have done. */
  listen(request: ListenRequest, proceed: (address?: string) => void): void {
    const { server } = request;
    if (handleOf(server) !== undefined) {
      proceed();
      return;
    }
    const name = freeName(listenerName(request), (one) => this.#open.has(one));
    const passed = [name, ...otherNames(request)].flatMap((one) => this.#passed.get(one) ?? [])[0];
    if (passed !== undefined) this.#claim(passed, request, proceed);
    else if (isUnixPath(request)) this.#bindPath(name, request, proceed);
    else {
      proceed();
      this.#add(name, request, 'tcp', null);
    }
  }

  /** Accepts from now on; what was passed and not claimed is closed here. */
  open(): void {
    this.#isOpen = true;
    for (const one of this.#open.values()) {
      if (one.state !== 'gated') continue;
      one.state = 'open';
      const error = openGate(one.handle, one.backlog);
      if (error !== 0) process.emitWarning(`listening on ${one.name} failed: ${error}`, 'MoultWarning');
    }
    for (const { fd } of this.#passed.values()) closeSync(fd);
    this.#passed.clear();
  }

  /** Accepts no more. Others have copies: who comes waits for them. @returns the servers. */
  stop(): Server[] {
    for (const one of this.#open.values()) {
      if (one.state === 'stopped') continue;
      one.state = 'stopped';
      closeHandle(one.handle);
    }
    return [...new Set([...this.#open.values()].map(({ server }) => server))];
  }

  /** What the supervisor is to copy. */
  toHold(): { listener: ListenerItem; fd: number }[] {
    return [...this.#open.values()]
      .filter(({ state, handle }) => state === 'open' && handle.fd >= 0)
      .map(({ name, family, backlog, path, handle }) => ({
        listener: { name, family, backlog, path },
        fd: handle.fd,
      }));
  }

  #isStopped(name: string): boolean {
    return this.#open.get(name)?.state === 'stopped';
  }

  #claim(passed: PassedListener, request: ListenRequest, proceed: () => void): void {
    const { name, fd, path, backlog } = passed;
    this.#passed.delete(name);
    const handle = handleOn(fd);
    if (!this.#isOpen) shutGate(handle);
    setHandle(request.server, handle);
    proceed();
    this.#add(
      name,
      { ...request, backlog: request.backlog || backlog },
      path === null ? 'tcp' : 'unix',
      path,
      true,
    );
  }

  // The handle of Node that binds a path removes it when it closes: so it binds another, and the path is a link to that.
  #bindPath(name: string, request: ListenRequest, proceed: (address?: string) => void): void {
    const { server, address } = request;
    const path = address ?? '';
    const other = `${path}.${process.pid}`;
    if (path.startsWith('\0') || !mayWrite(path) || Buffer.byteLength(other) > MAX_SOCKET_PATH_BYTES) {
      proceed();
      process.emitWarning(
        `${path} is not passed on to the next release: Node loads no addons here`,
        'MoultWarning',
      );
      return;
    }
    proceed(other);
    const handle = handleOf(server);
    if (handle === undefined) return;
    try {
      linkSync(other, path);
      namePipe(server, path);
    } catch {
      closeHandle(handle);
      setHandle(server, null);
      failListen(request, 'EADDRINUSE');
      return;
    } finally {
      tryToRemove(other);
    }
    this.#add(name, request, 'unix', resolve(path));
  }

  #add(
    name: string,
    request: ListenRequest,
    family: 'tcp' | 'unix',
    path: string | null,
    isPassed = false,
  ): void {
    const { server } = request;
    const handle = handleOf(server);
    // Node tells of a bind that failed by the server's 'error' event.
    if (handle === undefined || handle.fd < 0) return;
    const state = isPassed && !this.#isOpen ? 'gated' : 'open';
    const backlog = request.backlog || BACKLOG;
    const one: Open = { name, server, handle, backlog, path, family, isPassed, state };
    this.#open.set(name, one);
    steerAccepted(handle, (accepted) => this.#events.takes(accepted, name));
    onHandleClose(handle, () => this.#closedByService(one));
    this.#events.opened(server);
  }

  #closedByService(one: Open): void {
    if (one.state === 'stopped') return;
    this.#open.delete(one.name);
    this.closedAt.set(one.name, wallClockMs());
    if (one.path !== null) tryToRemove(one.path);
    this.#events.closed(one.name);
  }
}

function isUnixPath({ fd, port, address }: ListenRequest): boolean {
  return fd === undefined && port < 0 && address !== null;
}

function mayWrite(path: string): boolean {
  const { permission } = process as { permission?: { has(scope: string, path: string): boolean } };
  return permission?.has('fs.write', dirname(resolve(path))) ?? true;
}
