import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { BetweenRequests, http1Phase, isPlainHttp } from '../node/http/http1.js';
import { isPiped, otherEndOf } from '../node/http/piped.js';
import { socketAbove, socketBelow } from '../node/tls-sockets.js';
import { MAX_REASON } from '../protocol/limits.js';
import { endQuietly } from './close-idle.js';
import { Farewells } from './http1/pipelining.js';
import { Http2Farewell } from './http2-sessions.js';
import { Spread } from './moving/closing-pace.js';
import { isGiven, moverOf } from './moving/movers.js';
import type { ConnectionTracker, Tracked } from './tracker.js';
import { tellRestart, webSocketOn } from './web-sockets.js';

/** How long a client that was told of the cut may take to answer. */
const GOODBYE_MS = 1000;

/** What was closed at the deadline. */
export interface Cut {
  /** The client's address. */
  readonly peer: string;
  readonly ageMs: number;
  readonly reason: string;
  readonly kind: ConnectionKind;
}

/** What a connection is, as far as that is known of it. */
export type ConnectionKind = 'http1' | 'http2' | 'tls' | 'websocket' | 'proxied' | 'other';

/** The times of a drain, from its beginning. */
export interface DrainTimes {
  /** What is left then is cut. */
  readonly timeoutMs: number;
  /** Over so long what must be closed is closed, evenly; 0: as it comes to a point for it. */
  readonly spreadMs: number;
}

/**
 * Lets connections that stay here come to their end: `Connection: close` on the next response, GOAWAY for
 * HTTP/2, and at the deadline what is left is cut and named. With a spread each has a turn before which it is used
 * as ever; at its turn an idle one is closed, and a WebSocket is told 1012.
 */
export class Drain {
  /** Connections that came to their end here. */
  drained = 0;
  readonly cut: Cut[] = [];
  /** Settles when no connection is left, or all that were left have been cut. */
  readonly finished: Promise<void>;
  #tracker: ConnectionTracker;
  #stays: (socket: Socket, server: Server) => boolean;
  #mayEnd: () => boolean;
  #why: (tracked: Tracked, isIdle: boolean) => string | undefined;
  #timer: NodeJS.Timeout;
  #cutAtMs: number;
  #spread: Spread | undefined;
  #farewells: Farewells;
  #http2: Http2Farewell;
  readonly #between = new BetweenRequests();
  #finish!: () => void;
  #isFinished = false;
  #isCutting = false;
  #offs: (() => void)[] = [];
  #onRequest = (message: unknown) => {
    const { socket, server, response } = message as {
      socket: Socket;
      server: Server;
      response: ServerResponse;
    };
    if (this.#stays(socket, server) && this.#hasTurn(socket))
      this.#farewells.closeAfter(response, socket, server);
  };

  /**
   * @param stays whether a connection ends here, rather than move. For TLS it is not the tracked socket, but the one above it.
   * @param mayEnd whether no more connections can come; asked when none is left.
   * @param why a connection that might have moved did not.
   */
  constructor(
    tracker: ConnectionTracker,
    servers: readonly Server[],
    { timeoutMs, spreadMs }: DrainTimes,
    stays: (socket: Socket, server: Server) => boolean,
    mayEnd: () => boolean,
    why: (tracked: Tracked, isIdle: boolean) => string | undefined = () => undefined,
  ) {
    this.#tracker = tracker;
    this.#stays = stays;
    this.#mayEnd = mayEnd;
    this.#why = why;
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#cutAtMs = performance.now() + timeoutMs;
    this.#farewells = new Farewells(this.#cutAtMs);
    subscribe('http.server.request.start', this.#onRequest);
    this.#http2 = new Http2Farewell(tracker, servers);
    if (spreadMs > 0) this.#spread = this.#spreadOver(Math.min(spreadMs, timeoutMs));
    else this.#http2.endAll();
    this.#offs.push(() => this.#http2.stop());
    this.#offs.push(() => this.#spread?.stop());
    this.#offs.push(
      tracker.onClosed(() => {
        this.drained += 1;
        this.check();
      }),
    );
    this.#timer = setTimeout(() => this.#cutAll(), timeoutMs);
    this.check();
  }

  /** Milliseconds until what is left is cut; negative while that is under way. */
  get cutInMs(): number {
    return this.#cutAtMs - performance.now();
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Looks whether the end has come; called when something else that was waited for is over. */
  check(): void {
    if (!this.#isFinished && this.#tracker.size === 0 && (this.#isCutting || this.#mayEnd())) this.stop();
  }

  /** Ends the drain; who is left, after an undo, is used as before. */
  stop(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    unsubscribe('http.server.request.start', this.#onRequest);
    for (const off of this.#offs) off();
    clearTimeout(this.#timer);
    this.#farewells.stop();
    this.#finish();
  }

  /** The first of those that are still here. */
  connections(most: number): Cut[] {
    const nowMs = performance.now();
    return this.#tracker
      .all()
      .slice(0, most)
      .map((tracked) => ({
        peer: peerOf(tracked),
        ageMs: nowMs - tracked.openedAtMs,
        kind: this.kindOf(tracked),
        reason: this.whyOpen(tracked),
      }));
  }

  /** Why a connection is still here. */
  whyOpen(tracked: Tracked): string {
    const isIdle = this.#isIdle(tracked);
    const why =
      this.#why(tracked, isIdle) ??
      this.#http2.whyOpen(tracked) ??
      (isIdle ? 'idle: its client has sent no further request' : reasonOf(tracked));
    return why.slice(0, MAX_REASON);
  }

  #isIdle({ socket, server }: Tracked): boolean {
    if (!isPlainHttp(server)) return false;
    queueMicrotask(() => this.#between.endTurn());
    return http1Phase(socket, this.#between.of(server)) === 'rest';
  }

  /** What a connection is. */
  kindOf(tracked: Tracked): ConnectionKind {
    const { socket, server } = tracked;
    if (webSocketOn(socket) !== undefined) return 'websocket';
    if (this.#http2.whyOpen(tracked) !== undefined) return 'http2';
    if ('setSecureContext' in server) return 'tls';
    const inside = socket as Socket & { _httpMessage?: unknown; parser?: unknown };
    if (inside._httpMessage || inside.parser) return 'http1';
    return isPiped(socket) ? 'proxied' : 'other';
  }

  #spreadOver(spreadMs: number): Spread {
    return new Spread(
      this.#tracker,
      spreadMs,
      ({ socket, server }) => this.#stays(socket, server),
      (tracked) => this.#http2.end(tracked) || tellRestart(tracked.socket) || endQuietly(tracked),
    );
  }

  // Without a spread it is everybody's turn.
  #hasTurn(socket: Socket): boolean {
    const tracked = this.#tracker.of(socketBelow(socket));
    return this.#spread === undefined || tracked === undefined || this.#spread.hasTurn(tracked);
  }

  // A connection whose service has said what it is is told so in its own way, such as 1012 to a WebSocket.
  #cutAll(): void {
    this.#isCutting = true;
    this.#spread?.stop();
    for (const tracked of this.#tracker.all()) {
      const { socket, server, openedAtMs } = tracked;
      const reason = this.whyOpen(tracked);
      const kind = this.kindOf(tracked);
      this.cut.push({ peer: peerOf(tracked), ageMs: performance.now() - openedAtMs, reason, kind });
      const above = socketAbove(socket);
      const mover = moverOf(above, server);
      if (mover !== undefined) mover.abandon(above);
      else if (!tellRestart(socket)) socket.destroy();
    }
    this.#timer = setTimeout(() => {
      for (const { socket } of this.#tracker.all()) socket.destroy();
      this.stop();
    }, GOODBYE_MS);
    this.check();
  }
}

function peerOf({ socket }: Tracked): string {
  return socket.remoteAddress === undefined ? 'unix' : `${socket.remoteAddress}:${socket.remotePort}`;
}

function reasonOf({ socket, server }: Tracked): string {
  if (webSocketOn(socket) !== undefined)
    return `WebSocket: ${whyNoWebSocketMoves(socketAbove(socket), server)}`;
  if ('setSecureContext' in server) return 'TLS: it cannot move';
  const inside = socket as Socket & { _httpMessage?: unknown; parser?: unknown };
  if (inside._httpMessage) return 'its response was not finished';
  if (inside.parser) return 'its request was not finished';
  if (isPiped(socket)) {
    return otherEndOf(socket) === undefined
      ? 'passed on by its service, not from plain socket to plain socket: it cannot move'
      : 'passed on by its service, and too much was waiting on it to move';
  }
  return 'not HTTP/1.1 (upgraded, or another protocol): its service has not declared it movable';
}

function whyNoWebSocketMoves(socket: Socket, server: Server): string {
  if (!isGiven(socket, server)) return 'its service has not declared it movable';
  return socket.writableLength > 0
    ? 'its client had not read what was sent'
    : 'something was pending on it, or a message was not finished';
}
