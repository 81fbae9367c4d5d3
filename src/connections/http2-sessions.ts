import type { Http2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { handleOf } from '../node/handle.js';
import { announceEnd, handleBelow, handleOfSession, isHttp2, openStreams } from '../node/http/http2.js';
import type { ConnectionTracker, Tracked } from './tracker.js';
import { mayBeUnread } from './unread.js';

const sessionsOf = new WeakMap<Server, Set<Http2Session>>();
/** How long the second GOAWAY waits for a client that does not answer a ping: longer than any round trip. */
const PING_TIMEOUT_MS = 5000;
/** How long a session that cannot be told beforehand waits for a moment at which nothing is likely to be on its way. */
const PATIENCE_MS = 1000;

/** Remembers the sessions of an HTTP/2 server; nothing for other servers. */
export function trackHttp2Sessions(server: Server): void {
  if (!isHttp2(server) || sessionsOf.has(server)) return;
  const sessions = new Set<Http2Session>();
  sessionsOf.set(server, sessions);
  server.on('session', (session: Http2Session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
}

/** Ends the sessions of a generation that leaves: those that are open, and those that are only now agreed. */
export class Http2Farewell {
  #tracker: ConnectionTracker;
  #servers: readonly Server[];
  #bySocket = new Map<Socket, Http2Session>();
  #told = new WeakSet<Http2Session>();
  #isForAll = false;
  #isOver = false;
  #offs: (() => void)[] = [];

  constructor(tracker: ConnectionTracker, servers: readonly Server[]) {
    this.#tracker = tracker;
    this.#servers = servers.filter(isHttp2);
    if (this.#servers.length === 0) return;
    const sockets = new Map(tracker.all().map(({ socket }) => [handleOf(socket), socket]));
    for (const session of this.#open()) {
      const socket = sockets.get(handleBelow(session));
      if (socket !== undefined) this.#bySocket.set(socket, session);
    }
    for (const server of this.#servers) {
      server.on('session', this.#onSession);
      this.#offs.push(() => server.off('session', this.#onSession));
    }
  }

  /** Ends all of them now, and each that comes. */
  endAll(): void {
    this.#isForAll = true;
    for (const [socket, session] of this.#bySocket) this.#end(session, socket);
    // Those whose socket is not known are no less told.
    for (const session of this.#open()) this.#end(session, undefined);
  }

  /** Ends the one on a connection. @returns whether there is one. */
  end({ socket }: Tracked): boolean {
    const session = this.#bySocket.get(socket);
    if (session === undefined) return false;
    this.#end(session, socket);
    return true;
  }

  /** Why a connection is still open, if it has a session. */
  whyOpen({ socket }: Tracked): string | undefined {
    const session = this.#bySocket.get(socket);
    if (session === undefined) return undefined;
    const streams = openStreams(session).length;
    return streams > 0 ? `HTTP/2: ${streams} streams were not finished` : 'HTTP/2: its client did not end it';
  }

  /** Those that have not been told yet, and those that come, are not told any more. */
  stop(): void {
    this.#isOver = true;
    for (const off of this.#offs) off();
  }

  #onSession = (session: Http2Session) => {
    const handle = handleBelow(session);
    const socket = this.#tracker.all().find((one) => handleOf(one.socket) === handle)?.socket;
    if (socket !== undefined) this.#bySocket.set(socket, session);
    if (this.#isForAll) this.#end(session, socket);
  };

  #open(): Http2Session[] {
    const all = this.#servers.flatMap((server) => [...(sessionsOf.get(server) ?? [])]);
    return all.filter(({ closed, destroyed }) => !closed && !destroyed);
  }

  #end(session: Http2Session, socket: Socket | undefined): void {
    if (this.#told.has(session)) return;
    this.#told.add(session);
    endHttp2Session(session, socket, () => this.#isOver);
  }
}

/**
 * Ends a session. Without TLS no stream is lost: a GOAWAY that announces the end, one round trip in which requests
 * that are on their way arrive and are answered, then the GOAWAY that names the last stream, and the end with it.
 * With TLS there is only the second one, so it is sent when as little as possible can be on its way: nothing is
 * waiting to be read, and all streams have been answered, or else after a second. What crosses it all the same is
 * refused: it has not been processed, and the client may send it again.
 * @param socket the one that was accepted for it, where it is known.
 * @param isOver whether the session has been taken back before it was told anything: it lives on.
 */
function endHttp2Session(session: Http2Session, socket: Socket | undefined, isOver: () => boolean): void {
  if (session.closed || session.destroyed) return;
  whenAgreed(session, () => {
    if (isOver()) return;
    if (socket !== undefined && announceEnd(session, socket)) afterRoundTrip(session, () => close(session));
    else closeAtQuietMoment(session, isOver);
  });
}

function close(session: Http2Session): void {
  if (!session.destroyed) session.close();
}

// The first frame of ours that a client sees must be SETTINGS, and it has seen them when it has acknowledged them.
function whenAgreed(session: Http2Session, go: () => void): void {
  if (!session.connecting && !session.pendingSettingsAck) {
    go();
    return;
  }
  once(go, PING_TIMEOUT_MS, (agreed) => session.once('localSettings', agreed));
}

function afterRoundTrip(session: Http2Session, go: () => void): void {
  once(go, PING_TIMEOUT_MS, (back) => {
    if (session.destroyed || !session.ping(back)) back();
  });
}

function closeAtQuietMoment(session: Http2Session, isOver: () => boolean): void {
  const giveUpAtMs = performance.now() + PATIENCE_MS;
  const watched = new WeakSet<object>();
  const look = () => {
    if (session.closed || session.destroyed || isOver()) return;
    const isLate = performance.now() >= giveUpAtMs;
    if (isUnread(session)) {
      // It is read in this turn of the event loop; a client that sends without an end is told in the midst of it.
      if (!isLate) setImmediate(look);
      else close(session);
      return;
    }
    const unanswered = openStreams(session).filter((stream) => !stream.writableFinished && !stream.destroyed);
    if (isLate || unanswered.length === 0) {
      clearTimeout(timer);
      close(session);
      return;
    }
    for (const stream of unanswered) {
      if (watched.has(stream)) continue;
      watched.add(stream);
      // In the turn in which its end is sent: the client hears of both at once.
      stream.once('finish', look);
      stream.once('close', look);
    }
  };
  const timer = setTimeout(look, PATIENCE_MS);
  look();
}

function isUnread(session: Http2Session): boolean {
  const fd = handleOfSession(session)?.fd ?? -1;
  return fd >= 0 && mayBeUnread(fd);
}

/** Calls once, when the event comes or the time is over. */
function once(go: () => void, timeoutMs: number, subscribe: (happened: () => void) => void): void {
  let isOver = false;
  const timer = setTimeout(happen, timeoutMs);
  function happen() {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    go();
  }
  subscribe(happen);
}
