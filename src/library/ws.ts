/**
 * Moves WebSockets of the `ws` library to the successor at a restart. Imports only types of `ws`.
 *
 * @module moult/ws
 */
import type { WebSocket, WebSocketServer } from 'ws';
import { begin } from '../connections/moving/movers.js';
import { MoultError } from '../errors.js';
import { type Broadcast, broadcastTo as toClients } from './broadcast.js';
import type { MovableWebSockets } from './movable/movable-web-sockets.js';
import { OPEN, socketOf } from './ws/insides.js';
import { cameFromElsewhere, WebSocketMover, webSocketOn } from './ws/mover.js';

export type { Subscription } from '../broadcast/feeds/feeds.js';
export type { Broadcast } from './broadcast.js';
export type { MovableWebSockets } from './movable/movable-web-sockets.js';

/**
 * Declares the WebSockets of a server movable: at a restart they move to the successor without being closed,
 * and move back if the restart is undone. Call it in every release, right after creating the server and
 * before the first WebSocket. If a handler of 'message' returns a promise, the WebSocket stays until it
 * settles; handlers are called one by one, also without moult. It has no other effect without moult.
 *
 * These stay until they end: WebSockets over TLS (unless it is TLS 1.3 and the service runs with `--tls
 * move`), or of versions of ws before 8.18, or being closed, or between two fragments of a compressed
 * message.
 * @throws MOULT_BAD_OPTION for an invalid value.
 */
export function moveWebSockets<Data = unknown>(
  wss: WebSocketServer,
  options: MovableWebSockets<Data> = {},
): void {
  if (options.save !== undefined && options.restore === undefined) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      'moveWebSockets: expected restore with save, received only save',
    );
  }
  new WebSocketMover(wss, options).start();
}

/**
 * Sends messages to all WebSockets of a server in all processes. During a restart some are in the
 * predecessor, some in the successor and some between them; with `--slots` they are in every slot. Each
 * WebSocket gets each message once, and the messages of one process in order. Without moult, it sends to
 * those of this process.
 *
 * ```js
 * const chat = broadcastTo(wss, 'chat', (ws, { room, text }) => {
 *   if (users.get(ws).room === room) ws.send(text);
 * });
 * chat.send({ room: 'a', text: 'hello' });
 * ```
 * @param name 1 to 256 characters, the same in every release, unique to this server.
 * @param deliver sends a message to a WebSocket, if it should get it; called in every generation, for each
 *   open WebSocket. Default: `ws.send(message)`. If it throws, moult emits a warning.
 * @throws MOULT_BAD_OPTION for a name that is invalid or already in use.
 */
export function broadcastTo<T = string | Buffer>(
  wss: WebSocketServer,
  name: string,
  deliver: (ws: WebSocket, message: T) => void = (ws, message) => ws.send(message as string | Buffer),
): Broadcast<T> {
  const isOpen = (ws: WebSocket) => ws.readyState === OPEN && wss.clients.has(ws);
  return toClients<WebSocket, T>(`ws ${name}`, {
    all: () => wss.clients,
    keyOf: (ws) => socketOf(ws) ?? ws,
    find: (socket) => webSocketOn(socket),
    isOpen,
    deliver,
  });
}

/** Whether this WebSocket was opened in another generation and has moved here. */
export function hasMoved(ws: WebSocket): boolean {
  return cameFromElsewhere.has(ws);
}

/**
 * Keeps a WebSocket in this process while something is pending on it, such as a response being computed. Not
 * needed for handlers of 'message' that return a promise.
 * @param until the promise to wait for; without one, call the returned function when it is over.
 * @returns a function that ends it; further calls have no effect.
 */
export function busy(ws: WebSocket, until?: PromiseLike<unknown>): () => void {
  const end = begin(ws, () => socketOf(ws));
  until?.then(end, end);
  return end;
}
