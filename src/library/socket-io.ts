/**
 * Clients of Socket.IO move to the successor at a restart. It imports nothing of `socket.io` but types.
 *
 * @module moult/socket.io
 */
import type { Server, Socket } from 'socket.io';
import { MoultError } from '../errors.js';
import type { MovableSockets } from './movable-sockets.js';
import { shareBroadcasts } from './socket.io/broadcast.js';
import { type Engine, insidesOf, type ServerInsides, socketInsides } from './socket.io/insides.js';
import { type Rehearsed, SocketMover } from './socket.io/mover.js';
import { rehearse } from './socket.io/rehearsal.js';
import { beginFor, Sessions } from './socket.io/sessions.js';

export type { MovableSockets } from './movable-sockets.js';

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
