/**
 * Moves Socket.IO clients to the successor at a restart. Imports only types of `socket.io`.
 *
 * @module moult/socket.io
 */
import type { Server, Socket } from 'socket.io';
import { MoultError } from '../errors.js';
import type { MovableSockets } from './movable/movable-sockets.js';
import { shareBroadcasts } from './socket.io/broadcast.js';
import { type Engine, insidesOf, type ServerInsides, socketInsides } from './socket.io/insides.js';
import { SocketMover, type SocketRehearsal } from './socket.io/mover.js';
import { rehearse } from './socket.io/rehearsal.js';
import { beginFor, Sessions } from './socket.io/sessions.js';

export type { MovableSockets } from './movable/movable-sockets.js';

/**
 * Declares the clients of a Socket.IO server movable: at a restart, those that use WebSockets move to the
 * successor without being disconnected, with their namespaces, rooms, `socket.data`, `socket.handshake` and
 * ids, and move back if the restart is undone. Call it in every release, right after creating the server. If
 * an event handler returns a promise, the client stays until it settles; handlers are called one by one, also
 * without moult. It has no other effect without moult.
 * @throws MOULT_BAD_OPTION for an invalid value.
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
 * Keeps a client in this process while something is pending for it, such as a response being computed. Not
 * needed for handlers that return a promise, nor for acknowledgements that the client has requested.
 * @param until the promise to wait for; without one, call the returned function when it is over.
 * @returns a function that ends it; further calls have no effect.
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
  const rehearsed: { -readonly [K in keyof SocketRehearsal]: SocketRehearsal[K] } = {
    isOver: false,
    problem: undefined,
  };
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
