import type { Server as HttpServer } from 'node:http';
import type { Server } from 'node:net';
import { handleOf } from '../node/handle.js';
import { BetweenRequests, http1Phase, isPlainHttp } from '../node/http/http1.js';
import { socketAbove } from '../node/tls-sockets.js';
import type { ConnectionTracker, Tracked } from './tracker.js';
import { mayBeUnread } from './unread.js';

/** A connection so young that has said nothing yet is about to ask for something. */
const FRESH_MS = 1000;
/** Whoever uses a connection often asks again within this time, and is told with the answer that it was the last. */
const FAREWELL_MS = 1000;

/**
 * Closes the connections that ask for nothing for a while, now or later. A client that asks in that time learns from
 * the answer that its connection ends; one whose connection is closed unannounced may just be sending.
 */
export function endIdleGently(connections: ConnectionTracker, servers: readonly Server[]): void {
  setTimeout(() => endIdleTls(servers), FAREWELL_MS).unref();
  endWhatRests(connections, atRest(connections));
}

/**
 * Closes the connections that ask for nothing, and others when they have asked for nothing for a while. One of which
 * bytes wait in the kernel asks for something, and one that has just come gets a moment to do so.
 */
export function endIdle(connections: ConnectionTracker, servers: readonly Server[]): void {
  endIdleTls(servers);
  const resting = atRest(connections);
  for (const one of resting.keys()) if (!isFresh(one)) one.socket.destroy();
  endWhatRests(connections, resting, () => endIdleTls(servers));
}

// The response that was in progress is over by then, and did not say that its connection would end.
function endWhatRests(connections: ConnectionTracker, before: Resting, andThen = () => {}): void {
  setTimeout(() => {
    andThen();
    const resting = atRest(connections);
    for (const [one, bytesRead] of resting) if (before.get(one) === bytesRead) one.socket.destroy();
    if (connections.size > 0) endWhatRests(connections, resting, andThen);
  }, FAREWELL_MS).unref();
}

/** Connections that ask for nothing, and what each had received when it was looked at. */
type Resting = ReadonlyMap<Tracked, number>;

function atRest(connections: ConnectionTracker): Resting {
  const between = new BetweenRequests();
  const resting = connections.all().filter((one) => asksForNothing(one, between));
  return new Map(resting.map((one) => [one, one.socket.bytesRead]));
}

// Of what is inside TLS the parser alone knows.
function endIdleTls(servers: readonly Server[]): void {
  for (const server of servers)
    if (!isPlainHttp(server) && 'closeIdleConnections' in server)
      (server as HttpServer).closeIdleConnections();
}

/**
 * Closes a connection of HTTP/1.1, with or without TLS, if it asks for nothing.
 * @returns false where it may be asked again later.
 */
export function endQuietly(one: Tracked): boolean {
  const { server } = one;
  if (!('closeIdleConnections' in server)) return true;
  const socket = socketAbove(one.socket);
  const handle = handleOf(one.socket);
  if (handle === undefined) return true;
  if (isFresh(one) || mayBeUnread(handle.fd)) return false;
  if (http1Phase(socket, new BetweenRequests().of(server as HttpServer)) !== 'rest') return false;
  socket.destroySoon();
  return true;
}

function asksForNothing({ socket, server }: Tracked, between: BetweenRequests): boolean {
  const handle = handleOf(socket);
  if (handle === undefined || mayBeUnread(handle.fd)) return false;
  if (socket.bytesRead === 0) return true;
  return isPlainHttp(server) && http1Phase(socket, between.of(server)) === 'rest';
}

// One that moved here has been heard before.
function isFresh({ socket, openedAtMs, carried }: Tracked): boolean {
  return socket.bytesRead === 0 && carried === undefined && performance.now() - openedAtMs < FRESH_MS;
}
