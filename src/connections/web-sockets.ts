import type { Socket } from 'node:net';
import { bySymbol } from '../node/handle.js';
import { socketAbove } from '../node/tls-sockets.js';

/** Closing code of a WebSocket whose server restarts: its client should come again. Source: IANA's registry, RFC 6455 section 11.7. */
const SERVICE_RESTART = 1012;
const OPEN = 1;

/** The part of a WebSocket of `ws` that is used. */
interface WebSocketLike {
  readonly readyState: number;
  close(code: number): void;
}

/**
 * The WebSocket of the library `ws` on a connection, declared to moult or not. The library marks the socket with it
 * under a symbol; what other libraries have on a socket, and whether their output stands between two frames, nobody
 * can tell from outside. Source: ws lib/websocket.js, kWebSocket.
 */
export function webSocketOn(socket: Socket): WebSocketLike | undefined {
  const found = bySymbol(socketAbove(socket), 'websocket') as Partial<WebSocketLike> | null | undefined;
  const isOne = typeof found?.close === 'function' && typeof found.readyState === 'number';
  return isOne ? (found as WebSocketLike) : undefined;
}

/** Has a WebSocket told that its server restarts. @returns whether there is one. */
export function tellRestart(socket: Socket): boolean {
  const ws = webSocketOn(socket);
  if (ws === undefined) return false;
  if (ws.readyState === OPEN) ws.close(SERVICE_RESTART);
  return true;
}
