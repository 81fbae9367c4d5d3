import { type AddressInfo, connect, createServer, type Server, type ServerOpts, type Socket } from 'node:net';
import type { Channel } from '#moult/channel/channel.js';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { moversFor } from '#moult/connections/moving/movers.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { channels } from '../channel/pair.js';
import { eventOf, soon } from '../support/events.js';
import type { Later } from '../support/tidy.js';
import { type TrackedServer, trackedServer } from './tracked-server.js';

export type RawSide = TrackedServer;

/** A server of node:net whose connections are tracked. @param address a port of its own, or this path. */
export async function rawSide(
  later: Later,
  options: ServerOpts = {},
  address: string | undefined = undefined,
): Promise<RawSide> {
  return trackedServer(later, createServer(options), address);
}

/** What the taking side says of its movers, as it would in its claims. */
export function carriedTo(to: Server): ConstructorParameters<typeof Outflow>[3] {
  return () => ({
    listener: 'raw',
    movers: moversFor(to).map(({ name, oldestVersion, version }) => ({
      name,
      min: oldestVersion,
      max: version,
    })),
  });
}

/** What moves connections from one side to another. */
export function flow(
  later: Later,
  a: RawSide,
  b: RawSide,
): { outflow: Outflow; near: Channel; far: Channel } {
  const [near, far] = channels(later);
  const outflow = new Outflow(near, a.tracker, () => undefined, carriedTo(b.server));
  new Inflow(far, b.tracker, () => b.server);
  near.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  return { outflow, near, far };
}

export interface RawClient {
  readonly socket: Socket;
  readonly text: () => string;
  readonly receives: (text: string) => Promise<void>;
  readonly closed: Promise<void>;
  readonly isClosed: () => boolean;
}

/** Connects a client that keeps all that it receives. */
export async function rawClient(later: Later, { server }: RawSide): Promise<RawClient> {
  const address = server.address();
  const socket =
    typeof address === 'string'
      ? connect(address)
      : connect({ port: (address as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  let text = '';
  let isClosed = false;
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      isClosed = true;
      resolve();
    }),
  );
  later(() => {
    socket.destroy();
    return closed;
  });
  await eventOf(server, 'connection');
  const receives = (part: string) =>
    soon(
      new Promise<void>((resolve) => {
        // All of a long text again with each chunk would take most of the time of a test.
        let unread = text;
        const look = (chunk = '') => {
          unread += chunk;
          if (!unread.includes(part)) {
            unread = part.length === 1 ? '' : unread.slice(1 - part.length);
            return;
          }
          socket.off('data', look);
          resolve();
        };
        socket.on('data', look);
        look();
      }),
      JSON.stringify(part),
    );
  return { socket, text: () => text, receives, closed, isClosed: () => isClosed };
}
