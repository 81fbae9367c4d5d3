import { Server as HttpServer, type IncomingMessage } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { type Server, Socket } from 'node:net';
import { bySymbol, handleOf, symbolOf } from '../handle.js';

/*
 * What moult knows of Node's HTTP/1.1 server beyond its documentation: which connections stand between two
 * requests, how to keep bytes in the kernel, and how to give a server a connection that it did not accept.
 */

interface ConnectionsList {
  idle(): { socket: Socket | null }[];
  all(): { socket: Socket | null }[];
}

interface ServerSocket {
  server?: unknown;
  _server?: unknown;
  _httpMessage?: unknown;
  _paused?: boolean;
  parser?: unknown;
}

/** Whether a server speaks HTTP/1.1 without TLS. */
export function isPlainHttp(server: Server): server is HttpServer {
  return server instanceof HttpServer && !(server instanceof HttpsServer);
}

/** Whether a server speaks HTTP/1.1, with or without TLS, and nothing else. */
export function isHttp1(server: Server): server is HttpServer | HttpsServer {
  return server instanceof HttpServer || server instanceof HttpsServer;
}

/** Tells which sockets' parsers stand between two requests; a response may still be under way. */
export interface Between {
  has(socket: Socket): boolean;
}

/**
 * The sockets of a server whose parser stands between two requests now.
 * Source: node src/node_http_parser.cc, ConnectionsList::Idle.
 */
export function betweenRequests(server: HttpServer): Set<Socket> {
  const sockets = new Set<Socket>();
  const list = bySymbol(server, 'http.server.connections') as ConnectionsList | undefined;
  for (const { socket } of list?.idle() ?? []) if (socket) sockets.add(socket);
  return sockets;
}

/**
 * {@link betweenRequests} for many looks: Node tells it only by listing all connections of a server, so a
 * list is used for as long as it is true: a parser that has got no byte since stands where it stood.
 */
export class BetweenRequests {
  #bytesReadThen = new WeakMap<Socket, number>();
  #thisTurn = new Map<HttpServer, Set<Socket>>();

  /** The answer for sockets of this server, in this turn. */
  of(server: HttpServer): Between {
    return {
      has: (socket) => this.#bytesReadThen.get(socket) === socket.bytesRead || this.#list(server).has(socket),
    };
  }

  /** Ends the turn: what is not known to be between requests is looked up anew, once a server. */
  endTurn(): void {
    this.#thisTurn.clear();
  }

  #list(server: HttpServer): Set<Socket> {
    const known = this.#thisTurn.get(server);
    if (known !== undefined) return known;
    const idle = betweenRequests(server);
    this.#thisTurn.set(server, idle);
    // Bytes that were read and have not reached the parser would change it without being counted again.
    for (const socket of idle)
      if (socket.readableLength === 0) this.#bytesReadThen.set(socket, socket.bytesRead);
    return idle;
  }
}

/**
 * - `rest`: nothing is under way, it can move
 * - `responding`: the request was read whole, its response is under way
 * - `flushing`: the response is written, and the kernel has not taken all of it yet
 * - `receiving`: a request is being read, or its state is not known
 * - `ended`: it is closing
 */
export type Http1Phase = 'rest' | 'responding' | 'flushing' | 'receiving' | 'ended';

/** Where a connection of an HTTP/1.1 server stands. @param between what is true of its server in this turn. */
export function http1Phase(socket: Socket, between: Between): Http1Phase {
  const handle = handleOf(socket);
  if (handle === undefined || socket.destroyed || socket.writableEnded || socket.readableEnded)
    return 'ended';
  const inside = socket as unknown as ServerSocket;
  const fresh = socket.bytesRead === 0;
  if (!fresh && !between.has(socket)) return 'receiving';
  if (inside._httpMessage) return 'responding';
  if (socket.writableLength > 0 || handle.writeQueueSize > 0) return 'flushing';
  return socket.readableLength === 0 && !inside._paused ? 'rest' : 'receiving';
}

const awaited = new WeakSet<IncomingMessage>();

/** Calls back when the request that a connection is receiving has come whole, once a request. */
export function onceReceived(socket: Socket, callback: () => void): void {
  const { parser } = socket as unknown as { parser?: { incoming?: IncomingMessage | null } | null };
  const request = parser?.incoming;
  if (!request || request.complete || awaited.has(request)) return;
  awaited.add(request);
  request.once('close', callback);
}

/** The requests that an HTTP/1.1 server is receiving or answering now, with or without TLS. */
export function requestsInFlight(server: Server): number {
  const list = bySymbol(server, 'http.server.connections') as ConnectionsList | undefined;
  if (list === undefined) return 0;
  const between = new Set(list.idle().map(({ socket }) => socket));
  return list.all().filter(({ socket }) => {
    if (socket === null || socket.bytesRead === 0) return false;
    return !between.has(socket) || Boolean((socket as unknown as ServerSocket)._httpMessage);
  }).length;
}

/** Keeps what the client sends in the kernel, whoever asks the socket to read, until {@link thaw}. */
export function freeze(socket: Socket): void {
  const handle = handleOf(socket);
  if (handle === undefined) return;
  handle.readStop();
  Object.defineProperty(handle, 'readStart', { configurable: true, writable: true, value: () => 0 });
}

/** Reads again. */
export function thaw(socket: Socket): void {
  const handle = handleOf(socket);
  if (handle === undefined || !Object.hasOwn(handle, 'readStart')) return;
  Reflect.deleteProperty(handle, 'readStart');
  if (!socket.isPaused()) handle.readStart();
}

/** Milliseconds until the socket's own time-out, or null when it has none. Source: node lib/internal/timers.js. */
export function timeLeftMs(socket: Socket, nowMs = timerNowMs()): number | null {
  const timer = bySymbol(socket, 'timeout') as
    | { _idleTimeout?: number; _idleStart?: number }
    | null
    | undefined;
  const { _idleTimeout: timeout, _idleStart: start } = timer ?? {};
  if (timeout === undefined || timeout <= 0 || start === undefined) return null;
  return Math.max(0, timeout - (nowMs - start));
}

/** The time in which timers count, of this turn. Only a timer tells it. Source: node lib/internal/timers.js. */
export function timerNowMs(): number {
  const probe = setTimeout(() => {}, 1000) as unknown as { _idleStart: number };
  clearTimeout(probe as unknown as NodeJS.Timeout);
  return probe._idleStart;
}

/** A socket object for a connection that another process accepted; it reads when its owner lets it. */
export function socketOn(fd: number, server: Server): Socket {
  const socket = loneSocketOn(fd);
  countAmong(socket, server);
  return socket;
}

/** Makes a socket one of a server's connections, which it counts until the socket closes. */
export function countAmong(socket: Socket, server: Server): void {
  const inside = socket as unknown as ServerSocket;
  inside.server = server;
  inside._server = server;
  (server as unknown as { _connections: number })._connections += 1;
}

/** The same for one that belongs to no server. */
export function loneSocketOn(fd: number): Socket {
  const options = { fd, readable: true, writable: true, allowHalfOpen: true, manualStart: true };
  return new Socket(options as ConstructorParameters<typeof Socket>[0]);
}

/** Gives a connection, and the first bytes that were read of it, to an HTTP server, as if it had accepted it. */
export function giveToServer(server: Server, socket: Socket, firstBytes?: Buffer): void {
  giveAs('connection', server, socket, firstBytes);
}

/** {@link giveToServer} for a connection over TLS that has moved here: its handshake is long over. */
export function giveSecuredToServer(server: Server, socket: Socket, firstBytes?: Buffer): void {
  giveAs('secureConnection', server, socket, firstBytes);
}

// As Node tells of one that it has accepted: it is being read, and nobody has paused it or asked for its data. A service
// may pause it until it has looked at its client, and attach what reads it then.
function giveAs(event: string, server: Server, socket: Socket, firstBytes: Buffer | undefined): void {
  // Source: node lib/internal/streams/readable.js; the property can be set, and null is its first value.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  if (firstBytes === undefined) socket.read(0);
  else socket.unshift(firstBytes);
  server.emit(event, socket);
}

/** Makes a server that never listened keep its list of connections, as it does when it listens. */
export function trackWithoutListening(server: HttpServer): () => void {
  server.emit('listening');
  return () => {
    const symbol = symbolOf(server, 'http.server.connectionsCheckingInterval');
    if (symbol !== undefined) clearInterval((server as unknown as Record<symbol, NodeJS.Timeout>)[symbol]);
  };
}
