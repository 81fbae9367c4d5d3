/**
 * WebSockets of the `ws` library move to the successor at a restart. It imports nothing of `ws` but types.
 *
 * @module moult/ws
 */
import type { WebSocket, WebSocketServer } from 'ws';
import { begin } from '../connections/moving/movers.js';
import { MoultError } from '../errors.js';
import { type Broadcast, broadcastTo as toClients } from './broadcast.js';
import type { MovableWebSockets } from './movable-web-sockets.js';
import { OPEN, socketOf } from './ws/insides.js';
import { cameFromElsewhere, WebSocketMover, webSocketOn } from './ws/mover.js';

export type { Subscription } from '../broadcast/feeds.js';
export type { Broadcast } from './broadcast.js';
export type { MovableWebSockets } from './movable-web-sockets.js';

/**
 * Declares the WebSockets of a server movable: at a restart they go to the successor without being closed, and come
 * back when the restart is undone. To be called by every release, right after the server was made and before the
 * first WebSocket. Where the process does not run under moult it changes nothing but one thing: handlers of
 * 'message' are called one by one, and those that return a promise keep the WebSocket until it settles.
 *
 * What cannot move stays until it ends: WebSockets over TLS, unless it is TLS 1.3 and the service runs with
 * `--tls move`; of versions of ws before 8.18; one that is being closed; between two fragments of one compressed message.
 * @throws MOULT_BAD_OPTION for a value that cannot be used.
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
 * Sends messages to the WebSockets of a server, wherever they lie: during a restart some are in the predecessor, some in
 * the successor, some on their way between them, and with `--slots` in every slot. Each is sent each message once, and
 * the messages of one process in the order in which that sent them. Without moult it sends to those of this process.
 *
 * ```js
 * const chat = broadcastTo(wss, 'chat', (ws, { room, text }) => {
 *   if (users.get(ws).room === room) ws.send(text);
 * });
 * chat.send({ room: 'a', text: 'hello' });
 * ```
 * @param name 1 to 256 characters, the same in every release, and of one server.
 * @param deliver sends a message to a WebSocket that is to have it; called in every generation, for each that is open
 *   there. Default: `ws.send(message)`. What it throws is told as a warning.
 * @throws MOULT_BAD_OPTION for a name that cannot be used, or is used already.
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

/** Whether this WebSocket was opened in another generation. */
export function hasMoved(ws: WebSocket): boolean {
  return cameFromElsewhere.has(ws);
}

/**
 * Keeps a WebSocket here while something is pending on it, such as an answer that is being computed. Handlers of
 * 'message' that return a promise need not say so.
 * @param until it is over when this promise settles; without one, when the function that is returned is called.
 * @returns ends it; more than one call changes nothing.
 */
export function busy(ws: WebSocket, until?: PromiseLike<unknown>): () => void {
  const end = begin(ws, () => socketOf(ws));
  until?.then(end, end);
  return end;
}
