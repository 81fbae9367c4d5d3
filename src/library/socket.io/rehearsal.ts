import { EventEmitter } from 'node:events';
import { Socket as Connection } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import { requestFrom } from '../../node/http/request.js';
import {
  callLast,
  type Engine,
  type EngineRequest,
  type ServerInsides,
  type SocketInsides,
} from './insides.js';
import { Sessions } from './sessions.js';

/** How many turns of the event loop a server has to do what takes it a few. */
const TURNS = 100;
const PATH = '/socket.io/?EIO=4&transport=websocket';

/**
 * Moves a client of nobody's between two servers that nobody reaches, made of the same classes as these: what moult
 * knows of the insides of Socket.IO is true for this version, or it is not.
 * @returns what was not as it should be.
 */
export async function rehearse(io: ServerInsides, engine: Engine): Promise<string | undefined> {
  const stages: Stage[] = [];
  try {
    for (let i = 0; i < 2; i += 1) stages.push(stageLike(io, engine));
    await play(...(stages as [Stage, Stage]));
    return undefined;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return `this version of Socket.IO keeps its state elsewhere than 4.7 to 4.8: ${why}`;
  } finally {
    for (const stage of stages) stage.engine.close();
  }
}

async function play(from: Stage, to: Stage): Promise<void> {
  const before = new Nobody();
  const ws = before as unknown as WebSocket;
  const request = requestOf(ws);
  request._query = { EIO: '4', transport: 'websocket' };
  await from.engine.handshake('websocket', request, () => {});
  before.says('40');
  const socket = await soon(() => from.connected[0], 'expected a client to be connected');
  socket.join('room');
  socket.data = { is: 'here' };
  expect(from.sessions.phase(ws, () => true) === 'ready', 'expected it to be at rest');
  from.sessions.hold(ws);
  from.emit('room', 'held');
  expect(from.sessions.hasHeld(ws), 'expected what is sent to be held');
  const saved = structuredClone(from.sessions.save(ws, () => 'own'));
  from.sessions.left(ws, from.engine);
  expect(from.engine.clientsCount === 0 && socket.nsp.sockets.size === 0, 'expected it to have left');

  const after = new Nobody();
  const restored: [SocketInsides, unknown][] = [];
  await to.sessions.restore(
    after as unknown as WebSocket,
    saved,
    requestOf(after as unknown as WebSocket),
    to.engine,
    (one, own) => {
      restored.push([one, own]);
    },
  );
  const [[moved, own] = []] = restored;
  expect(moved?.id === socket.id && moved.connected && own === 'own', 'expected the same socket');
  expect(moved.rooms.has('room') && moved.data.is === 'here', 'expected its rooms and its data');
  let heard: unknown;
  moved.on('word', (value: unknown) => {
    heard = value;
  });
  after.says('42["word",2]');
  await soon(() => heard === 2 || undefined, 'expected it to hear');
  to.emit('room', 'more');
  expect(
    after.heard.join() === '42["held"],42["more"]',
    'expected it to be sent what is new, and that alone',
  );
}

interface Stage {
  readonly engine: Engine;
  readonly sessions: Sessions;
  readonly connected: SocketInsides[];
  emit(room: string, event: string): void;
}

type Made = ServerInsides & { to(room: string): { emit(event: string): void } };

/** A server of the same classes, that listens nowhere. */
function stageLike(io: ServerInsides, engine: Engine): Stage {
  const made = new (classOf(io, 'onconnection') as new (options: object) => Made)({ serveClient: false });
  const EngineClass = classOf(engine, 'handleUpgrade') as new (options: object) => Engine;
  const own = new EngineClass({ transports: ['websocket'] });
  made.bind(own);
  const sessions = new Sessions(made);
  sessions.use(own);
  const connected: SocketInsides[] = [];
  made.on('connection', (socket) => connected.push(socket as unknown as SocketInsides));
  return { engine: own, sessions, connected, emit: (room, event) => made.to(room).emit(event) };
}

/** The library's own class, not one that the service has made of it. */
function classOf(object: object, method: string): unknown {
  for (let proto = Object.getPrototypeOf(object); proto !== null; proto = Object.getPrototypeOf(proto)) {
    if (Object.hasOwn(proto, method)) return proto.constructor;
  }
  throw new TypeError(`expected a class with ${method}()`);
}

/** A WebSocket without a connection. */
class Nobody extends EventEmitter {
  readonly heard: string[] = [];

  send(data: string | Buffer, ...rest: unknown[]): void {
    this.heard.push(String(data));
    callLast(rest);
  }

  says(text: string): void {
    this.emit('message', Buffer.from(text), false);
  }

  close(): void {}
}

function requestOf(ws: WebSocket): EngineRequest {
  const head = { method: 'GET', url: PATH, httpVersion: '1.1', rawHeaders: [] };
  const request: EngineRequest = requestFrom(head, new Connection());
  request.websocket = ws;
  return request;
}

async function soon<T>(look: () => T | undefined, what: string): Promise<T> {
  for (let i = 0; i < TURNS; i += 1) {
    const found = look();
    if (found !== undefined) return found;
    await turn();
  }
  throw new TypeError(what);
}

function expect(holds: unknown, what: string): asserts holds {
  if (!holds) throw new TypeError(what);
}
