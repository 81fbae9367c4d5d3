import type { IncomingMessage } from 'node:http';
import type { Socket as Connection, Server } from 'node:net';
import type { Socket } from 'socket.io';
import type { WebSocket, WebSocketServer } from 'ws';
import type { MoverPhase } from '../../connections/moving/movers.js';
import { MoultError } from '../../errors.js';
import { requestFrom } from '../../node/http/request.js';
import { tell, Warner } from '../movable/movable.js';
import type { MovableSockets } from '../movable/movable-sockets.js';
import type { LateSend } from '../ws/insides.js';
import { WebSocketMover } from '../ws/mover.js';
import type { Engine, EngineRequest, ServerInsides, SocketInsides } from './insides.js';
import type { SavedSession, Sessions } from './sessions.js';

/** Whether this version of Socket.IO keeps its state where it is looked for: a reason where it does not. */
export interface SocketRehearsal {
  readonly isOver: boolean;
  readonly problem: string | undefined;
}

/** Moves the clients of a Socket.IO server that speak over WebSockets, on what moves the WebSockets themselves. */
export class SocketMover<Data> extends WebSocketMover<SavedSession> {
  readonly #io: ServerInsides;
  readonly #engine: Engine;
  readonly #sessions: Sessions;
  readonly #rehearsed: SocketRehearsal;
  readonly #sockets: MovableSockets<Data>;
  readonly #warner = new Warner();

  /** @param wss the one that the engine uses now. */
  constructor(
    io: ServerInsides,
    engine: Engine,
    wss: WebSocketServer,
    sessions: Sessions,
    rehearsed: SocketRehearsal,
    options: MovableSockets<Data>,
  ) {
    const { name, version, oldestVersion, maxBytes } = options;
    super(wss, {
      name: `socket.io:${name ?? engine.opts.path ?? ''}`,
      ...(version === undefined ? {} : { version }),
      ...(oldestVersion === undefined ? {} : { oldestVersion }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
      save: (ws) => sessions.save(ws, (socket) => this.#ownOf(socket)),
      restore: (ws, saved, request, of) => this.#arrive(ws, saved, request, of),
    });
    this.#io = io;
    this.#engine = engine;
    this.#sessions = sessions;
    this.#rehearsed = rehearsed;
    this.#sockets = options;
  }

  override takesFor(server: Server): boolean {
    const own = this.#io.httpServer;
    return super.takesFor(server) && (own === undefined || own === server);
  }

  override phase(connection: Connection): MoverPhase {
    const { isOver, problem } = this.#rehearsed;
    if (problem !== undefined) throw new TypeError(problem);
    if (!isOver) return 'busy';
    const phase = super.phase(connection);
    if (phase !== 'ready') return phase;
    return this.#sessions.phase(
      this.webSocketOf(connection),
      (socket) => this.#sockets.canMove?.(asPublic(socket)) !== false,
    );
  }

  leaving(): void {
    this.#sessions.endPolling(this.#engine);
  }

  staying(): void {
    this.#sessions.keepPolling();
  }

  override hold(connection: Connection): void {
    this.#sessions.hold(this.webSocketOf(connection));
    super.hold(connection);
  }

  override stays(connection: Connection): boolean {
    return super.stays(connection) || this.#sessions.isClosing(this.webSocketOf(connection));
  }

  // What Socket.IO holds itself is saved with the session.
  override late(connection: Connection): LateSend[] | undefined {
    const late = super.late(connection);
    return late === undefined && this.#sessions.hasHeld(this.webSocketOf(connection)) ? [] : late;
  }

  override release(connection: Connection): void {
    super.release(connection);
    this.#sessions.release(this.webSocketOf(connection));
  }

  override left(connection: Connection): void {
    const ws = this.webSocketOf(connection);
    const sockets = this.#sessions.socketsOf(ws);
    super.left(connection);
    this.#sessions.left(ws, this.#engine);
    for (const socket of sockets) tell(() => this.#sockets.moved?.(asPublic(socket)));
  }

  override stayed(connection: Connection, error: MoultError): void {
    const { stayed } = this.#sockets;
    if (stayed === undefined) {
      this.#warner.warn('a client of Socket.IO', error);
      return;
    }
    for (const socket of this.#sessions.socketsOf(this.webSocketOf(connection))) {
      tell(() => stayed.call(this.#sockets, asPublic(socket), error));
    }
  }

  #ownOf(socket: SocketInsides): unknown {
    const data: unknown = this.#sockets.save?.(asPublic(socket));
    if (!(data instanceof Promise)) return data;
    data.catch(() => {});
    throw new MoultError(
      'MOULT_SAVE_FAILED',
      'moveSockets: expected save() to return data, received a promise',
    );
  }

  #arrive(ws: WebSocket, saved: SavedSession, request: IncomingMessage, version: number): Promise<void> {
    const first: EngineRequest = saved.head === undefined ? request : requestFrom(saved.head, request.socket);
    return this.#sessions.restore(ws, saved, first, this.#engine, (socket, own) => {
      if (this.#sockets.restore !== undefined) {
        return this.#sockets.restore(asPublic(socket), own as Data, version);
      }
      socket.nsp.emitReserved('connect', socket);
      socket.nsp.emitReserved('connection', socket);
    });
  }
}

function asPublic(socket: SocketInsides): Socket {
  return socket as unknown as Socket;
}
