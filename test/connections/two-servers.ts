import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Channel } from '#moult/channel/channel.js';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { channels } from '../channel/pair.js';
import { eventOf, soon, until } from '../support/events.js';
import type { Later } from '../support/tidy.js';
import { type TrackedServer, trackedServer } from './tracked-server.js';

export type Side = TrackedServer<Server>;

/** A client that writes bytes as it likes and keeps all that it receives. */
export interface Client {
  readonly socket: Socket;
  readonly text: () => string;
  /** Waits until the client has received so many times this text. */
  readonly receives: (text: string, times?: number) => Promise<void>;
  readonly closed: Promise<void>;
}

export const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** An HTTP server whose connections are tracked. */
export async function side(
  later: Later,
  listener: RequestListener,
  options: ServerOptions & Record<string, unknown> = {},
): Promise<Side> {
  const server = createServer(options, listener);
  // Hundreds of clients come in more than Node's 5 s on a busy machine, and the first would have been closed.
  server.keepAliveTimeout = 60_000;
  for (const name of [
    'keepAliveTimeout',
    'headersTimeout',
    'requestTimeout',
    'maxRequestsPerSocket',
    'maxConnections',
  ]) {
    if (name in options) Object.assign(server, { [name]: options[name] });
  }
  return trackedServer(later, server);
}

/** A predecessor's server, a successor's, and what moves connections from the one to the other. */
export async function twoServers(
  later: Later,
  first: RequestListener = (_request, response) => response.end('first'),
  second: RequestListener = (_request, response) => response.end('second'),
  options: ServerOptions & Record<string, unknown> = {},
): Promise<{ a: Side; b: Side; near: Channel; far: Channel; outflow: Outflow }> {
  const a = await side(later, first, options);
  const b = await side(later, second, options);
  const [near, far] = channels(later);
  const outflow = new Outflow(near, a.tracker, (server) => (server === a.server ? 'web' : undefined));
  new Inflow(far, b.tracker, (name) => (name === 'web' ? b.server : undefined));
  near.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  return { a, b, near, far, outflow };
}

/** Connects a client, and waits until the server has accepted it. */
export async function clientOf(later: Later, { server }: Side): Promise<Client> {
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  later(() => {
    socket.destroy();
    return closed;
  });
  await eventOf(server, 'connection');
  return {
    socket,
    text: () => text,
    receives: (part, times = 1) =>
      soon(
        new Promise<void>((resolve) => {
          const look = () => {
            if (text.split(part).length <= times) return;
            socket.off('data', look);
            resolve();
          };
          socket.on('data', look);
          look();
        }),
        `${times} times ${JSON.stringify(part)}`,
      ),
    closed,
  };
}

/** A client that has been answered once. */
export async function servedClient(later: Later, on: Side, answer = 'first'): Promise<Client> {
  const client = await clientOf(later, on);
  client.socket.write(GET);
  await client.receives(answer);
  return client;
}

export function connectionsOf({ server }: Side): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => {
      if (error) reject(error);
      else resolve(count);
    }),
  );
}

/** Waits until all of them have moved. */
export async function moved(outflow: Outflow, count: number, withinMs?: number): Promise<void> {
  await until(
    () => outflow.moved === count && outflow.pausesMs.length === count,
    `${count} moved connections`,
    withinMs,
  );
}
