import { subscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';

/*
 * A client that pipelines may have sent its next request before it reads `Connection: close`, and loses it.
 * So for a connection that has pipelined, the response that would say close waits until the client has been
 * quiet for a moment: either its next request comes, and the connection lives on, or the client waits for us.
 * Connections that move need none of this; it is for those that cannot: TLS, and all where the self-test failed, on
 * this side or the other. Who that will be is not known before, so all are watched, at the cost of a small object on
 * each socket: in a WeakMap it cost a new connection 3 µs, in collecting garbage.
 */

/**
 * How long a pipelining client must be quiet before it is told that the connection ends: this, or four times
 * the longest pause that it has made so far while it had requests pending, but no more than the limit.
 */
const QUIET_MS = 3000;
const LONGEST_QUIET_MS = 12_000;
/** What is held goes out so long before its connection is cut. */
const LAST_MS = 500;

/** How many requests a connection must have made before one that never pipelined is taken for one that does not. */
const YOUNG_REQUESTS = 8;

interface Habit {
  requests: number;
  lastRequestMs: number;
  /** The longest time between two requests of which the first was still pending; undefined if it never pipelined. */
  longestPauseMs: number | undefined;
}

/** What is known of the clients of a listener, over its generations. */
export interface Clientele {
  /** Whether one that pipelines was met: its next connection will pipeline, too. */
  meetsPipelining: boolean;
}

const METHODS = ['writeHead', 'flushHeaders', 'write', 'end'] as const;
const HABIT = Symbol('moult.habit');
const pending = new WeakMap<Socket, number>();
const held = new WeakMap<Socket, () => void>();
const watched = new WeakMap<Server, Clientele>();
let isWatching = false;

type Watched = Socket & { [HABIT]?: Habit };

interface Started {
  readonly socket: Watched & { _httpMessage?: unknown };
  readonly server: Server;
  readonly response: ServerResponse;
}

/** Notices from now on which connections of this server pipeline. @param clientele is told, and tells what was known before. */
export function watchPipelining(server: Server, clientele: Clientele): void {
  watched.set(server, clientele);
  if (isWatching) return;
  isWatching = true;
  subscribe('http.server.request.start', (message) => {
    const { server, socket } = message as Started;
    // Unknown for a server that listens nowhere, to which the service gives connections that another has accepted.
    const clientele = watched.get(server);
    const nowMs = performance.now();
    const habit = socket[HABIT];
    if (habit === undefined) {
      socket[HABIT] = { requests: 1, lastRequestMs: nowMs, longestPauseMs: undefined };
      return;
    }
    // The response before has not been finished when the next request comes.
    if (socket._httpMessage) {
      if (clientele !== undefined) clientele.meetsPipelining = true;
      habit.longestPauseMs = Math.max(habit.longestPauseMs ?? 0, nowMs - habit.lastRequestMs);
    }
    habit.requests += 1;
    habit.lastRequestMs = nowMs;
  });
}

/** Says `Connection: close` on the responses of a drain, until the drain is over: an undo takes back what was not said. */
export class Farewells {
  #cutAtMs: number;
  #held = new Set<() => void>();
  #isOver = false;

  /** @param cutAtMs when connections are cut, by the clock of `performance.now()`: what is held goes out before. */
  constructor(cutAtMs: number) {
    this.#cutAtMs = cutAtMs;
  }

  /** What is held goes out, and no response that has not begun says close. */
  stop(): void {
    this.#isOver = true;
    for (const release of [...this.#held]) {
      try {
        release();
      } catch (error) {
        // What the service has done wrong is its own affair, and no other response's.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }

  /** Ends a connection with this response, unless the client has sent another request by then. */
  closeAfter(response: ServerResponse, socket: Socket, server: Server): void {
    pending.set(socket, (pending.get(socket) ?? 0) + 1);
    // The request that has just come is what a held response waited for: with it pending, none says close.
    held.get(socket)?.();
    response.once('close', () => pending.set(socket, (pending.get(socket) ?? 1) - 1));
    let wish = response.shouldKeepAlive;
    Object.defineProperty(response, 'shouldKeepAlive', {
      configurable: true,
      enumerable: true,
      get: () => wish && (this.#isOver || (pending.get(socket) ?? 0) > 1),
      set: (value: boolean) => {
        wish = value;
      },
    });
    // Who asked for the close itself has sent nothing more.
    if (!wish) return;
    const habit = (socket as Watched)[HABIT];
    const isUnknown =
      watched.get(server)?.meetsPipelining === true && (habit?.requests ?? 0) < YOUNG_REQUESTS;
    if (habit?.longestPauseMs === undefined && !isUnknown) return;
    const quietMs = Math.min(LONGEST_QUIET_MS, Math.max(QUIET_MS, 4 * (habit?.longestPauseMs ?? 0)));
    this.#hold(response, socket, quietMs);
  }

  // What the service says goes out, in order, when the client is quiet or has said more.
  #hold(response: ServerResponse, socket: Socket, quietMs: number): void {
    const calls: (() => void)[] = [];
    let timer: NodeJS.Timeout | undefined;
    const release = () => {
      if (!this.#held.delete(release)) return;
      clearTimeout(timer);
      socket.off('close', release);
      held.delete(socket);
      for (const method of METHODS) Reflect.deleteProperty(response, method);
      for (const call of calls) call();
    };
    this.#held.add(release);
    held.set(socket, release);
    socket.once('close', release);
    for (const method of METHODS) {
      const own = response[method] as (...args: unknown[]) => unknown;
      const later = (...args: unknown[]) => {
        calls.push(() => own.apply(response, args));
        // After the timer one more look at the sockets: a request that has arrived by now still counts.
        const waitMs = Math.max(0, Math.min(quietMs, this.#cutAtMs - LAST_MS - performance.now()));
        timer ??= setTimeout(() => setImmediate(() => setImmediate(release)), waitMs);
        return method === 'write' ? true : response;
      };
      Object.defineProperty(response, method, { configurable: true, writable: true, value: later });
    }
  }
}
