import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type ClientOptions, type ServerOptions, WebSocket, WebSocketServer } from 'ws';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { ConnectionTracker } from '#moult/connections/tracker.js';
import { type MovableWebSockets, moveWebSockets } from '#moult/library/ws.js';
import { channels } from '../channel/pair.js';
import { carriedTo } from '../connections/raw-servers.js';
import { eventOf, soon, until } from '../support/events.js';
import type { Later } from '../support/tidy.js';

/** What the service keeps of a WebSocket. */
export interface State {
  count: number;
}

/** One generation of a service that answers each message with its own name, the number of the message, and the message. */
export interface WebSocketSide {
  readonly name: string;
  readonly server: Server;
  readonly wss: WebSocketServer;
  readonly tracker: ConnectionTracker;
  readonly states: Map<WebSocket, State>;
  /** Events of the library that the service saw, but messages. */
  readonly events: string[];
  readonly requests: IncomingMessage[];
  answer: (ws: WebSocket, text: string, isBinary: boolean) => unknown;
  setUp(ws: WebSocket, state: State): void;
}

export interface SideOptions {
  readonly server?: Partial<ServerOptions>;
  readonly movable?: Partial<MovableWebSockets<State>>;
}

export async function webSocketSide(
  later: Later,
  name: string,
  { server: serverOptions = {}, movable = {} }: SideOptions = {},
): Promise<WebSocketSide> {
  const server = createServer();
  const wss = new WebSocketServer({ server, ...serverOptions });
  for (const emitter of [server, wss]) emitter.setMaxListeners(0);
  const tracker = new ConnectionTracker((one) => one === server);
  tracker.start();
  const side: WebSocketSide = {
    name,
    server,
    wss,
    tracker,
    states: new Map(),
    events: [],
    requests: [],
    answer: (ws, text, isBinary) => ws.send(isBinary ? Buffer.from(text) : text),
    setUp(ws, state) {
      side.states.set(ws, state);
      // In Latin-1, so that binary messages keep their length.
      ws.on('message', (data, isBinary) => {
        state.count += 1;
        const text = (data as Buffer).toString(isBinary ? 'latin1' : 'utf8');
        return side.answer(ws, `${name}:${state.count}:${text}`, isBinary);
      });
      for (const event of ['close', 'error', 'ping', 'pong'] as const) {
        ws.on(event, (first: unknown) => side.events.push(event === 'error' ? `error ${first}` : event));
      }
      ws.on('close', () => side.states.delete(ws));
    },
  };
  wss.on('connection', (ws) => {
    side.events.push('connection');
    side.setUp(ws, { count: 0 });
  });
  moveWebSockets<State>(wss, {
    save: (ws) => side.states.get(ws) ?? { count: -1 },
    restore: (ws, state, request) => {
      side.requests.push(request);
      side.setUp(ws, state);
    },
    moved: (ws) => side.states.delete(ws),
    ...movable,
  });
  server.listen(0, '127.0.0.1');
  later(
    () =>
      new Promise<void>((resolve) => {
        for (const { socket } of tracker.all()) socket.destroy();
        wss.close();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  await eventOf(server, 'listening');
  return side;
}

/** What moves WebSockets from one side to another. */
export function flow(later: Later, a: WebSocketSide, b: WebSocketSide): Outflow {
  const [near, far] = channels(later);
  const outflow = new Outflow(near, a.tracker, () => undefined, carriedTo(b.server));
  new Inflow(far, b.tracker, () => b.server);
  near.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  return outflow;
}

/** Two generations, and the way from one to the other. */
export async function generations(later: Later, first: SideOptions = {}, second: SideOptions = first) {
  const a = await webSocketSide(later, 'a', first);
  const b = await webSocketSide(later, 'b', second);
  return { a, b, outflow: flow(later, a, b) };
}

/** Waits until so many have moved, and are there. */
export async function moved(outflow: Outflow, to: WebSocketSide, count: number): Promise<void> {
  await until(() => outflow.moved === count && to.tracker.size === count, `${count} moved`);
}

/** Moves all there and all back. */
export async function thereAndBack(later: Later, a: WebSocketSide, b: WebSocketSide): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const count = from.tracker.size;
    const outflow = flow(later, from, to);
    outflow.start();
    await moved(outflow, to, count);
    outflow.stop();
  }
}

export interface Client {
  readonly ws: WebSocket;
  readonly received: string[];
  readonly receives: (text: string) => Promise<void>;
  readonly events: string[];
}

/** A client of the ws library. */
export async function client(
  later: Later,
  { server }: WebSocketSide,
  options: ClientOptions = {},
  protocols: string[] = [],
): Promise<Client> {
  const { port } = server.address() as AddressInfo;
  const ws = new WebSocket(`ws://127.0.0.1:${port}/some/path?x=1`, protocols, {
    perMessageDeflate: false,
    ...options,
  });
  const received: string[] = [];
  const events: string[] = [];
  ws.on('message', (data, isBinary) =>
    received.push((data as Buffer).toString(isBinary ? 'latin1' : 'utf8')),
  );
  for (const event of ['close', 'error', 'ping', 'pong'] as const) {
    ws.on(event, (first: unknown) =>
      events.push(event === 'error' || event === 'close' ? `${event} ${first}` : event),
    );
  }
  later(() => ws.terminate());
  await eventOf(ws, 'open');
  const receives = (text: string) =>
    soon(
      until(() => received.includes(text), text),
      `${text} among ${JSON.stringify(received).slice(0, 200)}`,
    );
  return { ws, received, receives, events };
}

/** A client that speaks in bytes. */
export interface RawClient {
  readonly socket: Socket;
  /** Frames that came, as [opcode, payload]. */
  readonly frames: () => [number, Buffer][];
  readonly receives: (text: string) => Promise<void>;
}

export async function rawClient(later: Later, { server, wss }: WebSocketSide): Promise<RawClient> {
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  later(() => socket.destroy());
  socket.on('error', () => {});
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
  });
  const open = eventOf(wss, 'connection');
  socket.write(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await open;
  await until(() => bytes.includes('\r\n\r\n'), 'the upgrade');
  const frames = () => framesIn(bytes.subarray(bytes.indexOf('\r\n\r\n') + 4));
  const receives = (text: string) =>
    until(() => frames().some(([, payload]) => payload.toString('latin1') === text), text.slice(0, 100));
  return { socket, frames, receives };
}

/** A frame as a client sends it. */
export function frame(
  opcode: number,
  payload: Buffer | string,
  { fin = true, mask = 0x01020304 } = {},
): Buffer {
  const data = Buffer.from(payload as string);
  const long = data.length > 65_535 ? 8 : data.length > 125 ? 2 : 0;
  const header = Buffer.alloc(2 + long + 4);
  header[0] = (fin ? 0x80 : 0) | opcode;
  header[1] = 0x80 | (long === 8 ? 127 : long === 2 ? 126 : data.length);
  if (long === 2) header.writeUInt16BE(data.length, 2);
  if (long === 8) header.writeBigUInt64BE(BigInt(data.length), 2);
  header.writeUInt32BE(mask, 2 + long);
  const key = header.subarray(2 + long);
  return Buffer.concat([header, data.map((byte, i) => byte ^ (key[i % 4] ?? 0))]);
}

function framesIn(bytes: Buffer): [number, Buffer][] {
  const frames: [number, Buffer][] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const long = short === 127 ? 8 : short === 126 ? 2 : 0;
    if (at + 2 + long > bytes.length) break;
    const length =
      long === 8 ? Number(bytes.readBigUInt64BE(at + 2)) : long === 2 ? bytes.readUInt16BE(at + 2) : short;
    const begin = at + 2 + long;
    if (begin + length > bytes.length) break;
    frames.push([(bytes[at] ?? 0) & 0x0f, bytes.subarray(begin, begin + length)]);
    at = begin + length;
  }
  return frames;
}
