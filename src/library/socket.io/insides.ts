import type { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'socket.io';
import type { WebSocket, WebSocketServer } from 'ws';
import type { FeedMark } from '../../broadcast/feeds/feed.js';

/*
 * What moult knows of Socket.IO and Engine.IO beyond their documentation: where they keep what belongs to a client.
 * All of it is tried with a client of nobody's before it is used (rehearsal.ts), so that another version
 * drains instead of breaking.
 * Source: socket.io 4.7 to 4.8, dist/client.js, namespace.js, socket.js; engine.io 6.5 to 6.6, build/server.js,
 * socket.js, transports/websocket.js.
 */

/** Types of packets of Socket.IO. Source: socket.io-parser. */
export const CONNECT = 0;
export const CONNECT_ERROR = 4;

/** A packet that Engine.IO has not given to its transport yet. */
export interface EnginePacket {
  readonly type: string;
  readonly data?: unknown;
  readonly options?: { readonly compress?: boolean };
}

export type EngineRequest = IncomingMessage & { _query?: Record<string, string>; websocket?: WebSocket };

export interface Transport extends EventEmitter {
  readonly name: string;
  /** The WebSocket, where it is one. */
  readonly socket?: WebSocket;
  /** Whether it can send now: for long-polling, whether the client has a request here that waits. */
  readonly writable: boolean;
  /** A request of long-polling that has not been read to its end. */
  readonly dataReq?: unknown;
}

/** A session of Engine.IO: one client, whatever its namespaces. */
export interface Session extends EventEmitter {
  readonly id: string;
  readonly protocol: number;
  readyState: 'opening' | 'open' | 'closing' | 'closed';
  readonly request: EngineRequest;
  remoteAddress: string | undefined;
  upgraded: boolean;
  readonly upgrading: boolean;
  readonly transport: Transport;
  writeBuffer: EnginePacket[];
  packetsFn: ((transport: Transport) => void)[];
  readonly cleanupFn: (() => void)[];
  pingIntervalTimer: NodeJS.Timeout | null;
  pingTimeoutTimer: NodeJS.Timeout | null;
  sendPacket: unknown;
  close(discard?: boolean): void;
  flush(): void;
  schedulePing(): void;
  resetPingTimeout(): void;
}

/** The server of Engine.IO. */
export interface Engine extends EventEmitter {
  readonly clients: Record<string, Session>;
  clientsCount: number;
  readonly opts: { pingInterval: number; pingTimeout: number; path?: string };
  ws?: WebSocketServer;
  close(): void;
  generateId(request: IncomingMessage): string | Promise<string>;
  handshake(transport: string, request: EngineRequest, refuse: (code: number) => void): Promise<unknown>;
}

/** A client of Socket.IO, on a session of Engine.IO. */
export interface Client {
  readonly conn: Session;
  readonly sockets: Map<string, SocketInsides>;
  readonly decoder: { readonly reconstructor?: unknown };
  connect(namespace: string, auth: unknown): void;
  _packet(packet: { type?: number; nsp?: string }, options?: object): void;
  writeToEngine: unknown;
  destroy(): void;
}

/** A client's part in one namespace. */
export interface SocketInsides
  extends Omit<EventEmitter, 'emit'>,
    Pick<Socket, 'data' | 'rooms' | 'join' | 'handshake'> {
  id: string;
  pid?: string;
  recovered: boolean;
  connected: boolean;
  readonly nsp: NamespaceInsides;
  readonly client: Client;
  readonly acks: ReadonlyMap<number, unknown>;
  packet: unknown;
  ack(id: number): (...args: unknown[]) => void;
  dispatch(event: [string, ...unknown[]]): void;
  run(event: unknown[], done: (error?: Error | null) => void): void;
  _onconnect(): void;
  _onerror(error: Error): void;
  _cleanup(): void;
}

export type Joined = (socket: SocketInsides) => void;

export interface NamespaceInsides extends Omit<EventEmitter, 'emit'> {
  readonly name: string;
  readonly sockets: Map<string, SocketInsides>;
  readonly adapter: AdapterInsides;
  /** The id of the next packet that asks for an acknowledgement. */
  _ids: number;
  _add(client: Client, auth: unknown, joined: Joined): unknown;
  _createSocket(client: Client, auth: object): Promise<SocketInsides>;
  emitReserved(event: string, socket: SocketInsides): void;
}

/** What is sent to several clients. */
export interface BroadcastPacket {
  readonly type: number;
  readonly data: unknown;
  readonly nsp?: string;
  readonly id?: number;
}

/** Source: socket.io-adapter 2.5, dist/in-memory-adapter.js; @socket.io/redis-adapter 8.3, dist/index.js. */
export interface AdapterInsides {
  /** By which other servers know this one; not of the adapter in memory. */
  uid?: string | undefined;
  readonly rooms: ReadonlyMap<string, ReadonlySet<string>>;
  readonly sids: ReadonlyMap<string, ReadonlySet<string>>;
  broadcast(packet: BroadcastPacket, options: BroadcastOptions): void;
  broadcastWithAck(packet: { id?: number }, options: object, ...rest: unknown[]): void;
  /** Calls back with all sockets here that are meant. */
  apply(options: BroadcastOptions, callback: (socket: SocketInsides) => void): void;
  /** Called before {@link apply} by each broadcast. */
  _encode(packet: BroadcastPacket, options: object): unknown;
  /** Of the adapter for Redis: whether it looks at what is sent to one room. */
  hasRoom?(room: string): boolean;
  /** Of the same: its client for commands. */
  pubClient?: PublishingClient;
}

/** A client of Redis, as the adapter uses it. */
export interface PublishingClient {
  publish(...message: unknown[]): unknown;
}

export interface BroadcastOptions {
  readonly rooms: ReadonlySet<string>;
  readonly except?: ReadonlySet<string>;
  readonly flags?: {
    readonly timeout?: number;
    readonly local?: boolean;
    /** Of moult: who sent it, or a mark of a feed. */
    readonly moult?: string | FeedMark;
    /** The number of it among all that its sender has published; older releases have none. */
    readonly moultNumber?: number;
  };
}

/** The server of Socket.IO. */
export interface ServerInsides {
  engine?: Engine;
  readonly httpServer?: unknown;
  readonly encoder: { encode(packet: object): unknown[] };
  readonly _nsps: Map<string, NamespaceInsides>;
  readonly opts?: { readonly connectionStateRecovery?: object };
  path(): string;
  bind(engine: Engine): unknown;
  _checkNamespace(name: string, auth: object, found: (nsp: NamespaceInsides | false) => void): void;
  on(event: string, listener: (namespace: NamespaceInsides) => void): unknown;
}

export function insidesOf(io: Server): ServerInsides {
  return io as unknown as ServerInsides;
}

export function socketInsides(socket: Socket): SocketInsides {
  return socket as unknown as SocketInsides;
}

/** Calls with other options, for what reads them at once. */
export function withOptions(engine: Engine, options: Partial<Engine['opts']>, call: () => void): void {
  const own = Object.fromEntries(
    Object.keys(options).map((name) => [name, engine.opts[name as keyof Engine['opts']]]),
  );
  Object.assign(engine.opts, options);
  try {
    call();
  } finally {
    Object.assign(engine.opts, own);
  }
}

/**
 * Opens a session as the engine does for a new client, but with a known id, and without a word to the client.
 * @throws when the engine refuses.
 */
export async function openSession(
  engine: Engine,
  id: string,
  request: EngineRequest,
  ws: WebSocket,
): Promise<Session> {
  const own = Object.getOwnPropertyDescriptor(engine, 'generateId');
  request.websocket = ws;
  // What a new client is told first, this one was told long ago.
  ws.send = ((...args: unknown[]) => callLast(args)) as WebSocket['send'];
  try {
    // It asks for an id in this turn.
    engine.generateId = () => id;
    const opened = engine.handshake('websocket', request, () => {});
    if (own === undefined) Reflect.deleteProperty(engine, 'generateId');
    else Object.defineProperty(engine, 'generateId', own);
    await opened;
  } finally {
    Reflect.deleteProperty(ws, 'send');
  }
  const session = engine.clients[id];
  if (session?.transport.socket !== ws) throw new TypeError('Engine.IO did not open the session');
  return session;
}

/** Calls the callback of a `send`, with or without options. */
export function callLast(args: readonly unknown[]): void {
  const sent = args.at(-1);
  if (typeof sent === 'function') sent();
}

/** Takes a session out of its engine; it falls silent, and nobody is told of an end. */
export function closeSession(engine: Engine, session: Session): void {
  for (const timer of [session.pingIntervalTimer, session.pingTimeoutTimer]) clearTimeout(timer ?? undefined);
  for (const undo of session.cleanupFn.splice(0)) undo();
  const { transport } = session;
  transport.removeAllListeners();
  transport.on('error', () => {});
  for (const sent of session.packetsFn.splice(0)) process.nextTick(sent, transport);
  session.readyState = 'closed';
  session.writeBuffer = [];
  session.emit = () => false;
  delete engine.clients[session.id];
  engine.clientsCount -= 1;
}

/** The namespace of that name, made if the service makes such ones. @throws when there is none. */
export async function namespaceOf(io: ServerInsides, name: string): Promise<NamespaceInsides> {
  const known = io._nsps.get(name);
  if (known !== undefined) return known;
  const found = await new Promise<NamespaceInsides | false>((resolve) => {
    io._checkNamespace(name, {}, resolve);
  });
  if (found === false) throw new TypeError(`this release has no namespace ${name}`);
  return found;
}
