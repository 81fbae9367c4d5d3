import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, connect, type Server as NetServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Channel } from '#moult/channel/channel.js';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { watchTlsSockets } from '#moult/node/tls-sockets.js';
import { selfSigned } from '#moult/tls/search/self-signed.js';
import { channels } from '../channel/pair.js';
import { eventOf, soon } from '../support/events.js';
import type { Later } from '../support/tidy.js';
import { type TrackedServer, trackedServer } from './tracked-server.js';

export type SecureSide = TrackedServer<Server>;

export const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

const certificate = selfSigned();

/** An HTTPS server whose connections are tracked, with patience. */
export async function secureSide(
  later: Later,
  listener: RequestListener,
  options: TlsOptions = {},
): Promise<SecureSide> {
  const server = createServer({ ...certificate, ...options }, listener);
  server.keepAliveTimeout = 60_000;
  watchTlsSockets(server);
  return trackedServer(later, server);
}

/** What gives connections of the one to the other, over channels that may be looked at. */
export function between(
  later: Later,
  from: SecureSide,
  to: SecureSide,
): { near: Channel; far: Channel; outflow: Outflow; inflow: Inflow } {
  const [near, far] = channels(later);
  const outflow = new Outflow(near, from.tracker, () => 'web');
  const inflow = new Inflow(far, to.tracker, () => to.server);
  near.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  return { near, far, outflow, inflow };
}

/** Where a client connects to. */
type Reached = { readonly server: NetServer };

/** A TLS client whose records can be held back, and cut. */
export class WireClient {
  readonly tls: TLSSocket;
  readonly raw: Socket;
  readonly closed: Promise<void>;
  text = '';
  #held: Buffer[] | undefined;

  private constructor(raw: Socket, options: ConnectionOptions) {
    this.raw = raw;
    const wire = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        if (this.#held === undefined) raw.write(chunk);
        else this.#held.push(chunk);
        done();
      },
    });
    raw.on('data', (chunk: Buffer) => wire.push(chunk));
    raw.on('end', () => wire.push(null));
    raw.on('error', () => {});
    this.closed = new Promise((resolve) => raw.once('close', () => resolve()));
    this.tls = connectTls({ socket: wire, rejectUnauthorized: false, ...options });
    this.tls.on('error', () => {});
    this.tls.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
  }

  /** One that is connected; its handshake is over. */
  static async of(later: Later, side: Reached, options: ConnectionOptions = {}): Promise<WireClient> {
    const client = await WireClient.connected(later, side, options);
    await eventOf(client.tls, 'secureConnect');
    return client;
  }

  /** One that has been answered once, by whom. */
  static async served(later: Later, side: Reached, by = 'first', options: ConnectionOptions = {}) {
    const client = await WireClient.of(later, side, options);
    await client.asks(by);
    return client;
  }

  /** One that has connected, and whose handshake is under way. */
  static async connected(later: Later, { server }: Reached, options: ConnectionOptions = {}) {
    const { port } = server.address() as AddressInfo;
    return WireClient.on(later, connect({ port, host: '127.0.0.1', noDelay: true }), options);
  }

  /** One on a socket that is connecting; its handshake is over. */
  static async at(later: Later, raw: Socket): Promise<WireClient> {
    const client = WireClient.on(later, raw, {});
    await eventOf(client.tls, 'secureConnect');
    return client;
  }

  private static on(later: Later, raw: Socket, options: ConnectionOptions): WireClient {
    const client = new WireClient(raw, options);
    later(() => {
      client.tls.destroy();
      raw.destroy();
      return client.closed;
    });
    return client;
  }

  /** What it writes from now on is held; returns all that is held. */
  hold(): () => Buffer {
    const held: Buffer[] = [];
    this.#held = held;
    return () => {
      this.#held = undefined;
      return Buffer.concat(held);
    };
  }

  /** Sends a request, and waits for the next answer that has this text. */
  async asks(by: string): Promise<void> {
    const answer = this.answer(by);
    this.tls.write(GET);
    await answer;
  }

  /** Waits for one more of this text than there are. */
  answer(by: string): Promise<void> {
    const count = this.text.split(by).length;
    return soon(
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (this.text.split(by).length <= count) return;
          this.tls.off('data', look);
          resolve();
        };
        this.tls.on('data', look);
        this.closed.then(() => reject(new Error(`closed before it was answered by ${by}`)));
      }),
      `an answer of ${by}`,
    );
  }
}
