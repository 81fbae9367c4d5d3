import type { Server as HttpServer } from 'node:http';
import type { Server } from 'node:net';
import { handleOf } from '../node/handle.js';
import { BetweenRequests, http1Phase, isPlainHttp } from '../node/http1.js';
import { socketAbove } from '../node/tls-sockets.js';
import { isReadable } from '../os/unix-socket.js';
import type { ConnectionTracker, Tracked } from './tracker.js';

/** A connection so young that has said nothing yet is about to ask for something. */
const FRESH_MS = 1000;
/** Whoever uses a connection often asks again within this time, and is told with the answer that it was the last. */
const FAREWELL_MS = 1000;

/**
 * Closes the connections that ask for nothing for a while. A client that asks in that time learns from the answer
 * that its connection ends; one whose connection is closed unannounced may just be sending.
 */
export function endIdleGently(connections: ConnectionTracker, servers: readonly Server[]): void {
  setTimeout(() => endIdle(connections, servers), FAREWELL_MS).unref();
}

/**
 * Closes the connections that ask for nothing. One of which bytes wait in the kernel asks for something, and one
 * that has just come gets a moment to do so.
 */
export function endIdle(connections: ConnectionTracker, servers: readonly Server[]): void {
  // Of what is inside TLS the parser alone knows.
  for (const server of servers)
    if (!isPlainHttp(server) && 'closeIdleConnections' in server)
      (server as HttpServer).closeIdleConnections();
  const between = new BetweenRequests();
  let hasFresh = false;
  for (const one of connections.all()) {
    if (!asksForNothing(one, between)) continue;
    if (isFresh(one)) hasFresh = true;
    else one.socket.destroy();
  }
  if (hasFresh) setTimeout(() => endIdle(connections, []), FRESH_MS);
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
  if (isFresh(one) || isReadable(handle.fd)) return false;
  if (http1Phase(socket, new BetweenRequests().of(server as HttpServer)) !== 'rest') return false;
  socket.destroySoon();
  return true;
}

function asksForNothing({ socket, server }: Tracked, between: BetweenRequests): boolean {
  const handle = handleOf(socket);
  if (handle === undefined || isReadable(handle.fd)) return false;
  if (socket.bytesRead === 0) return true;
  return isPlainHttp(server) && http1Phase(socket, between.of(server)) === 'rest';
}

// One that moved here has been heard before.
function isFresh({ socket, openedAtMs, carried }: Tracked): boolean {
  return socket.bytesRead === 0 && carried === undefined && performance.now() - openedAtMs < FRESH_MS;
}
