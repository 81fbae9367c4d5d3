import { subscribe } from 'node:diagnostics_channel';
import type { Server as HttpServer, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { socketBelow } from '../../node/tls-sockets.js';
import type { ConnectionTracker, Tracked } from '../tracker.js';

/*
 * `maxRequestsPerSocket`: Node counts the requests of a connection where nobody else can see the count. So
 * they are counted here, only for servers that set the limit, and a connection that has moved ends when both
 * sides together have served as many.
 */

const counts = new WeakMap<Socket, number>();
let isCounting = false;

/** Counts the requests of a server that has the limit, or is given one later. */
export function countRequests(server: HttpServer, tracker: ConnectionTracker): void {
  if (server.maxRequestsPerSocket) {
    count(tracker);
    return;
  }
  const off = tracker.onOpened(({ server: of }) => {
    if (of !== server || !server.maxRequestsPerSocket) return;
    off();
    count(tracker);
  });
}

function count(tracker: ConnectionTracker): void {
  if (isCounting) return;
  isCounting = true;
  // Source: Node's documentation of diagnostics_channel: published before the service sees the request.
  subscribe('http.server.request.start', (message) => {
    const {
      socket,
      server: of,
      response,
    } = message as {
      socket: Socket;
      server: HttpServer;
      response: ServerResponse;
    };
    const limit = of.maxRequestsPerSocket;
    const tracked = tracker.of(socketBelow(socket));
    if (!limit || tracked === undefined) return;
    const served = requestsOf(tracked) + 1;
    counts.set(tracked.socket, served);
    // Node itself ends a connection that has always been here.
    if ((tracked.carried?.requests ?? 0) > 0 && served >= limit) response.shouldKeepAlive = false;
  });
}

/** The requests of a connection in all its generations; 0 where its server has no limit. */
export function requestsOf(tracked: Tracked): number {
  return counts.get(tracked.socket) ?? tracked.carried?.requests ?? 0;
}
