import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { giveToServer, socketOn } from '../../node/http/http1.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import type { ConnectionTracker } from '../tracker.js';

/** Connections of a server that wait, adopted, for their next request; the HTTP server has not seen them. */
const waiting = new WeakMap<HttpServer, Set<Socket>>();

/**
 * Takes over an HTTP/1.1 connection that is at rest. The HTTP server sees it at its first byte: handed over
 * at once it would be given the time of a fresh connection, and be answered 408 when that is over.
 * @param fd the connection's descriptor; it belongs to the socket from now on.
 */
export function adoptHttp1(
  fd: number,
  server: HttpServer,
  item: ConnectionItem,
  tracker: ConnectionTracker,
): Socket {
  const socket = socketOn(fd, server);
  waitForRequest(socket, server, item, tracker, (chunk) => giveToServer(server, socket, chunk));
  return socket;
}

/** Has a socket wait for the first byte of its client, for as long as it may. @param give is called with what came first. */
export function waitForRequest(
  socket: Socket,
  server: HttpServer,
  item: ConnectionItem,
  tracker: ConnectionTracker,
  give: (chunk: Buffer) => void,
): void {
  const idle = idleOf(server);
  idle.add(socket);
  tracker.add(socket, server, item);

  const leave = () => {
    idle.delete(socket);
    socket.off('data', first);
    socket.off('end', end);
    socket.off('timeout', expire);
    socket.off('error', destroy);
    socket.off('close', leave);
    clearTimeout(headTimer);
    socket.setTimeout(0);
  };
  const first = (chunk: Buffer) => {
    leave();
    give(chunk);
  };
  const destroy = () => socket.destroy();
  const end = () => socket.end();
  const expire = () => socket.destroy();
  const headTimer =
    item.headLeftMs === null ? undefined : setTimeout(() => late(server, socket, leave), item.headLeftMs);
  headTimer?.unref();
  socket.on('data', first);
  socket.on('end', end);
  socket.on('error', destroy);
  socket.on('timeout', expire);
  socket.on('close', leave);
  if (item.idleLeftMs !== null) socket.setTimeout(Math.max(1, item.idleLeftMs));
}

/** Whether a connection was adopted and has not sent anything since. */
export function isWaiting(server: HttpServer, socket: Socket): boolean {
  return waiting.get(server)?.has(socket) ?? false;
}

function idleOf(server: HttpServer): Set<Socket> {
  const known = waiting.get(server);
  if (known !== undefined) return known;
  const idle = new Set<Socket>();
  waiting.set(server, idle);
  // The server's own way to close what is idle, or all, must reach those that it has not seen.
  for (const method of ['closeIdleConnections', 'closeAllConnections'] as const) {
    const own = server[method];
    server[method] = () => {
      own.call(server);
      for (const socket of [...idle]) socket.destroy();
    };
  }
  return idle;
}

// What the HTTP server would do with a connection that never sent its head. Source: node lib/_http_server.js.
function late(server: HttpServer, socket: Socket, leave: () => void): void {
  leave();
  // Its client may reset it in answer; nobody else listens for that.
  socket.on('error', () => {});
  const error = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
  if (server.emit('clientError', error, socket)) return;
  if (socket.writable) socket.write('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
  socket.destroy(error);
}
