import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, type ServerOptions, type Socket } from 'socket.io';
import {
  type Socket as Client,
  io as connectTo,
  type ManagerOptions,
  type SocketOptions,
} from 'socket.io-client';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { ConnectionTracker } from '#moult/connections/tracker.js';
import { type MovableSockets, moveSockets } from '#moult/library/socket-io.js';
import { channels } from '../channel/pair.js';
import { carriedTo } from '../connections/raw-servers.js';
import { eventOf, soon, until } from '../support/events.js';
import type { Later } from '../support/tidy.js';

/** One generation of a service on Socket.IO. */
export interface SocketIoSide {
  readonly name: string;
  readonly server: HttpServer;
  readonly io: Server;
  readonly tracker: ConnectionTracker;
  /** Connections and ends that the service saw, in all namespaces. */
  readonly events: string[];
  /** The sockets that it set up, by namespace. */
  readonly sockets: Map<string, Socket>;
}

export interface SideOptions {
  readonly Server?: typeof Server;
  readonly server?: Partial<ServerOptions>;
  readonly movable?: MovableSockets<never>;
  readonly namespaces?: readonly string[];
  /** What the service does with each socket, new or moved. */
  readonly setUp?: (socket: Socket, side: SocketIoSide) => void;
}

export async function socketIoSide(
  later: Later,
  name: string,
  options: SideOptions = {},
): Promise<SocketIoSide> {
  const server = createServer();
  const io = new (options.Server ?? Server)(server, options.server);
  server.setMaxListeners(0);
  const tracker = new ConnectionTracker((one) => one === server);
  tracker.start();
  const side: SocketIoSide = { name, server, io, tracker, events: [], sockets: new Map() };
  moveSockets(io, options.movable);
  for (const namespace of options.namespaces ?? ['/']) {
    io.of(namespace).on('connection', (socket) => {
      side.events.push(socket.recovered ? 'recovered' : 'connection');
      side.sockets.set(socket.nsp.name, socket);
      socket.on('disconnect', (reason) => side.events.push(`disconnect: ${reason}`));
      socket.on('echo', (...args: unknown[]) => {
        const acknowledge = args.at(-1);
        if (typeof acknowledge === 'function') acknowledge(name, ...args.slice(0, -1));
        else socket.emit('echo', name, ...args);
      });
      options.setUp?.(socket, side);
    });
  }
  server.listen(0, '127.0.0.1');
  later(async () => {
    for (const { socket } of tracker.all()) socket.destroy();
    await io.close();
  });
  await eventOf(server, 'listening');
  return side;
}

/** What moves clients from one side to another. */
export function flow(later: Later, a: SocketIoSide, b: SocketIoSide): Outflow {
  const [near, far] = channels(later);
  const outflow = new Outflow(near, a.tracker, () => undefined, carriedTo(b.server));
  new Inflow(far, b.tracker, () => b.server);
  near.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  return outflow;
}

/** Two generations, and the way from one to the other. */
export async function generations(later: Later, first: SideOptions = {}, second: SideOptions = first) {
  const a = await socketIoSide(later, 'a', first);
  const b = await socketIoSide(later, 'b', second);
  return { a, b, outflow: flow(later, a, b) };
}

/** Waits until so many have moved, and are set up there. */
export async function moved(outflow: Outflow, to: SocketIoSide, count = 1): Promise<void> {
  await until(() => outflow.moved === count && to.tracker.size === count, `${count} moved`);
  await until(() => [...to.sockets.values()].some(({ connected }) => connected), 'they are set up');
}

export interface Spoken {
  readonly socket: Client;
  /** What came, but for answers to `emitWithAck`: names of events and their arguments. */
  readonly heard: unknown[][];
  /** Ends, of any kind. */
  readonly ends: string[];
  hears(...event: unknown[]): Promise<void>;
}

/** A client of Socket.IO's own library, that would not come again by itself. */
export async function client(
  later: Later,
  { server }: SocketIoSide,
  options: Partial<ManagerOptions & SocketOptions> = {},
  namespace = '/',
): Promise<Spoken> {
  const { port } = server.address() as AddressInfo;
  const socket = connectTo(`http://127.0.0.1:${port}${namespace}`, {
    transports: ['websocket'],
    reconnection: false,
    forceNew: true,
    ...options,
  });
  later(() => socket.io._close());
  const spoken = speaking(socket);
  await eventOf(socket as never, 'connect');
  return spoken;
}

/** What a socket of a client hears from now on. */
export function speaking(socket: Client): Spoken {
  const heard: unknown[][] = [];
  const ends: string[] = [];
  socket.onAny((...event: unknown[]) => heard.push(event));
  socket.on('disconnect', (reason) => ends.push(reason));
  socket.on('connect_error', (error) => ends.push(String(error)));
  const hears = (...event: unknown[]) => {
    const wanted = JSON.stringify(event);
    const isHeard = () => heard.some((one) => JSON.stringify(one) === wanted);
    return soon(until(isHeard, wanted), `${wanted} among ${JSON.stringify(heard).slice(0, 300)}`);
  };
  return { socket, heard, ends, hears };
}
