/**
 * Clients of Socket.IO move to the successor at a restart. It imports nothing of `socket.io` but types.
 *
 * @module moult/socket.io
 */
import type { Server, Socket } from 'socket.io';
import { MoultError } from '../errors.js';
import { shareBroadcasts } from './socket-io-broadcast.js';
import { type Engine, insidesOf, type ServerInsides, socketInsides } from './socket-io-insides.js';
import { type Rehearsed, SocketMover } from './socket-io-mover.js';
import { rehearse } from './socket-io-rehearsal.js';
import { beginFor, Sessions } from './socket-io-sessions.js';

/** What a service says of the sockets of its Socket.IO server. */
export interface MovableSockets<Data> {
  /** Tells several servers with the same path apart; default: the server's path. The same in every release. */
  readonly name?: string;
  /** The version of the data that `save` gives; from 1 on, default 1. Raise it when the data changes its meaning. */
  readonly version?: number;
  /** The oldest version of data that `restore` understands; default: `version`. Sockets of others stay. */
  readonly oldestVersion?: number;
  /** The most bytes that may go along with one client; default and most: 4 MiB. */
  readonly maxBytes?: number;
  /** Whether it may leave now, such as between two messages of a transaction; default: always. */
  canMove?(socket: Socket): boolean;
  /**
   * What belongs to a socket beside `socket.data` and its rooms, which go along anyway: anything that
   * `structuredClone` takes; default: nothing. Called when the service is not running; what is sent waits to go
   * along. It must change nothing: the socket may stay after all. It may not return a promise.
   */
  save?(socket: Socket): Data;
  /**
   * Sets up a socket that has moved here: its handlers. It is connected and in its rooms. Nothing is received before
   * it returns, or before its promise settles. Default: its namespace emits 'connection' with it, as for a new one,
   * and `socket.recovered` is true. When it throws, the client is disconnected.
   * @param version of the data.
   */
  restore?(socket: Socket, data: Data, version: number): void | Promise<void>;
  /** The socket has left this process: time to clear timers and lists. It emits no 'disconnect'. */
  moved?(socket: Socket): void;
  /** The socket could not leave, and stays here until it ends; default: one warning for each code. */
  stayed?(socket: Socket, error: MoultError): void;
}

/**
 * Declares the clients of a Socket.IO server movable: at a restart those that speak over WebSockets go to the
 * successor without being disconnected, with their namespaces, rooms, `socket.data`, `socket.handshake` and ids, and
 * come back when the restart is undone. To be called by every release, right after the server was made. Where the
 * process does not run under moult it changes nothing but one thing: handlers of events are called one by one, and
 * those that return a promise keep the client until it settles.
 * @throws MOULT_BAD_OPTION for a value that cannot be used.
 */
export function moveSockets<Data = unknown>(io: Server, options: MovableSockets<Data> = {}): void {
  if (options.save !== undefined && options.restore === undefined) {
    throw new MoultError('MOULT_BAD_OPTION', 'moveSockets: expected restore with save, received only save');
  }
  const insides = insidesOf(io);
  const sessions = new Sessions(insides);
  shareBroadcasts(insides, sessions, options.name ?? insides.path());
  const use = (engine: Engine) => useEngine(insides, engine, sessions, options);
  if (insides.engine !== undefined) use(insides.engine);
  const own = insides.bind;
  insides.bind = (engine) => {
    const bound = own.call(insides, engine);
    use(engine);
    return bound;
  };
}

/**
 * Keeps a client here while something is pending for it, such as an answer that is being computed. Handlers that
 * return a promise, and acknowledgements that the client has asked for, need not say so.
 * @param until it is over when this promise settles; without one, when the function that is returned is called.
 * @returns ends it; more than one call changes nothing.
 */
export function busy(socket: Socket, until?: PromiseLike<unknown>): () => void {
  const end = beginFor(socketInsides(socket).client.conn);
  until?.then(end, end);
  return end;
}

function useEngine<Data>(
  io: ServerInsides,
  engine: Engine,
  sessions: Sessions,
  options: MovableSockets<Data>,
): void {
  const rehearsed: { -readonly [K in keyof Rehearsed]: Rehearsed[K] } = { isOver: false, problem: undefined };
  rehearse(io, engine).then((problem) => {
    rehearsed.isOver = true;
    rehearsed.problem = problem;
  });
  sessions.use(engine);
  // The engine makes another one when its HTTP server listens.
  let wss = engine.ws;
  const move = () => {
    if (wss !== undefined) new SocketMover(io, engine, wss, sessions, rehearsed, options).start();
  };
  Object.defineProperty(engine, 'ws', {
    configurable: true,
    enumerable: true,
    get: () => wss,
    set: (value: typeof wss) => {
      wss = value;
      move();
    },
  });
  move();
}
