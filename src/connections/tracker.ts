import { subscribe } from 'node:diagnostics_channel';
import type { Server, Socket } from 'node:net';

/** What is known of a connection since it was accepted or adopted. */
export interface Tracked {
  readonly socket: Socket;
  readonly server: Server;
  /** Milliseconds of `performance.now()`. */
  readonly openedAtMs: number;
  /** When a connection that has sent nothing yet must have sent its head, in the same clock; null for no limit. */
  readonly headDueAtMs: number | null;
  /** Requests that it made before it came to this process. */
  readonly requestsBefore: number;
}

/** The open connections of the service's listeners, however they came. */
export class ConnectionTracker {
  #open = new Map<Socket, Tracked>();
  #isOurs: (server: Server) => boolean;
  #onOpened = new Set<(tracked: Tracked) => void>();
  #onClosed = new Set<(tracked: Tracked) => void>();

  /** @param isOurs which servers' connections are tracked. */
  constructor(isOurs: (server: Server) => boolean) {
    this.#isOurs = isOurs;
  }

  /** Tracks what is accepted from now on. Source: Node's documentation of diagnostics_channel, `net.server.socket`. */
  start(): void {
    subscribe('net.server.socket', (message) => {
      const { socket } = message as { socket: Socket & { server?: Server } };
      if (socket.server !== undefined && this.#isOurs(socket.server)) this.add(socket, socket.server);
    });
  }

  get size(): number {
    return this.#open.size;
  }

  /** All of them, in the order in which they were opened. */
  all(): Tracked[] {
    return [...this.#open.values()];
  }

  of(socket: Socket): Tracked | undefined {
    return this.#open.get(socket);
  }

  onOpened(callback: (tracked: Tracked) => void): () => void {
    this.#onOpened.add(callback);
    return () => this.#onOpened.delete(callback);
  }

  onClosed(callback: (tracked: Tracked) => void): () => void {
    this.#onClosed.add(callback);
    return () => this.#onClosed.delete(callback);
  }

  /** Tracks one. @param carried what a connection brings along from another process. */
  add(
    socket: Socket,
    server: Server,
    carried: { headLeftMs: number | null; requests: number } | undefined = undefined,
  ): void {
    const nowMs = performance.now();
    const tracked: Tracked = {
      socket,
      server,
      openedAtMs: nowMs,
      headDueAtMs: headDueAtMs(server, nowMs, carried),
      requestsBefore: carried?.requests ?? 0,
    };
    this.#open.set(socket, tracked);
    socket.once('close', () => {
      this.#open.delete(socket);
      for (const callback of this.#onClosed) callback(tracked);
    });
    for (const callback of this.#onOpened) callback(tracked);
  }
}

function headDueAtMs(
  server: Server,
  nowMs: number,
  carried: { headLeftMs: number | null } | undefined,
): number | null {
  if (carried !== undefined) return carried.headLeftMs === null ? null : nowMs + carried.headLeftMs;
  const limits = server as { headersTimeout?: number; requestTimeout?: number };
  const limitMs = Math.min(
    limits.headersTimeout || Number.POSITIVE_INFINITY,
    limits.requestTimeout || Number.POSITIVE_INFINITY,
  );
  return Number.isFinite(limitMs) ? nowMs + limitMs : null;
}
