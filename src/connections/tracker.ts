import { subscribe } from 'node:diagnostics_channel';
import type { Server, Socket } from 'node:net';

/** What a connection brings along from another process. */
export interface Carried {
  /** Milliseconds left to send the first head, for a connection that has sent nothing yet; else null. */
  readonly headLeftMs: number | null;
  /** Requests that it made before it came to this process. */
  readonly requests: number;
}

/** What is known of a connection since it was accepted or adopted. */
export interface Tracked {
  readonly socket: Socket;
  readonly server: Server;
  /** Milliseconds of `performance.now()`. */
  readonly openedAtMs: number;
  /** Undefined for a connection that this process accepted. */
  readonly carried: Carried | undefined;
}

/** In a list through all that are open: to enter and to leave it makes and moves nothing. */
interface Entry extends Tracked {
  previous: Entry | undefined;
  next: Entry | undefined;
  isOpen: boolean;
}

/**
 * The open connections of the service's listeners, however they came. Each is entered on its own socket and in a list: a
 * map costs a service that makes many short connections twice as much, most of it in collecting garbage
 * (docs/benchmarks.md, steady).
 */
export class ConnectionTracker {
  readonly #entry = Symbol('moult.connection');
  #first: Entry | undefined;
  #last: Entry | undefined;
  #size = 0;
  #hasHadAny = false;
  #isOurs: (server: Server) => boolean;
  #onOpened = new Set<(tracked: Tracked) => void>();
  #onClosed = new Set<(tracked: Tracked) => void>();
  #close: (this: Socket) => void;

  /** @param isOurs which servers' connections are tracked. */
  constructor(isOurs: (server: Server) => boolean) {
    this.#isOurs = isOurs;
    const closed = (socket: Socket) => this.#closed(socket);
    // One function for all sockets, which are its `this`.
    this.#close = function () {
      closed(this);
    };
  }

  /** Tracks what is accepted from now on. Source: Node's documentation of diagnostics_channel, `net.server.socket`. */
  start(): void {
    subscribe('net.server.socket', (message) => {
      const { socket } = message as { socket: Socket & { server?: Server } };
      if (socket.server !== undefined && this.#isOurs(socket.server)) this.add(socket, socket.server);
    });
  }

  /** Whether there has been one. */
  get hasHadAny(): boolean {
    return this.#hasHadAny;
  }

  get size(): number {
    return this.#size;
  }

  /** All of them, in the order in which they were opened. */
  all(): Tracked[] {
    const all: Tracked[] = [];
    for (let entry = this.#first; entry !== undefined; entry = entry.next) all.push(entry);
    return all;
  }

  /** The servers that have some of them; also those that listen no more. */
  servers(): Server[] {
    const servers = new Set<Server>();
    for (let entry = this.#first; entry !== undefined; entry = entry.next) servers.add(entry.server);
    return [...servers];
  }

  of(socket: Socket): Tracked | undefined {
    const entry = this.#entryOf(socket);
    return entry?.isOpen === true ? entry : undefined;
  }

  onOpened(callback: (tracked: Tracked) => void): () => void {
    this.#onOpened.add(callback);
    return () => this.#onOpened.delete(callback);
  }

  onClosed(callback: (tracked: Tracked) => void): () => void {
    this.#onClosed.add(callback);
    return () => this.#onClosed.delete(callback);
  }

  #closed(socket: Socket): void {
    const entry = this.#entryOf(socket);
    if (entry !== undefined) this.remove(entry);
  }

  #entryOf(socket: Socket): Entry | undefined {
    return (socket as Socket & Record<symbol, Entry | undefined>)[this.#entry];
  }

  /** Tracks one. It is called for every connection of the service, so it makes nothing but one small object. */
  add(socket: Socket, server: Server, carried?: Carried): void {
    const previous = this.#last;
    const openedAtMs = performance.now();
    const entry: Entry = { socket, server, openedAtMs, carried, previous, next: undefined, isOpen: true };
    if (previous === undefined) this.#first = entry;
    else previous.next = entry;
    this.#last = entry;
    this.#size += 1;
    (socket as Socket & Record<symbol, Entry | undefined>)[this.#entry] = entry;
    this.#hasHadAny = true;
    socket.on('close', this.#close);
    for (const callback of this.#onOpened) callback(entry);
  }

  /** Tracks one no longer: it has closed, or its object no longer tells when it does. */
  remove(tracked: Tracked): void {
    const entry = tracked as Entry;
    if (!entry.isOpen) return;
    const { previous, next } = entry;
    entry.isOpen = false;
    // A closed connection that somebody keeps does not keep others.
    entry.previous = undefined;
    entry.next = undefined;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    this.#size -= 1;
    for (const callback of this.#onClosed) callback(tracked);
  }
}

/** When a connection that has sent nothing yet must have sent its head, in milliseconds of `performance.now()`; null for no limit. */
export function headDueAtMs({ server, openedAtMs, carried }: Tracked): number | null {
  if (carried !== undefined) return carried.headLeftMs === null ? null : openedAtMs + carried.headLeftMs;
  const limits = server as { headersTimeout?: number; requestTimeout?: number };
  const limitMs = Math.min(
    limits.headersTimeout || Number.POSITIVE_INFINITY,
    limits.requestTimeout || Number.POSITIVE_INFINITY,
  );
  return Number.isFinite(limitMs) ? openedAtMs + limitMs : null;
}
