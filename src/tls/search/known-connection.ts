import { once } from 'node:events';
import { Socket } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { streamSocketPair } from '../../os/sockets/descriptor-socket.js';
import type { Tls13Cipher } from '../state/tls-state.js';
import { selfSigned } from './self-signed.js';

/** The secrets of a connection, as its client logs them. */
export interface KnownSecrets {
  readonly client: Buffer;
  readonly server: Buffer;
  readonly exporter: Buffer;
}

/** How the client logs them. Source: RFC 9850, 2.1. */
const LABELS = {
  client: 'CLIENT_TRAFFIC_SECRET_0',
  server: 'SERVER_TRAFFIC_SECRET_0',
  exporter: 'EXPORTER_SECRET',
} as const;

/**
 * A TLS 1.3 connection of this process to itself, of which everything is known: its secrets, and how many records
 * have gone in each direction. Its server's end is an ordinary TLSSocket of a server with a context of its own.
 */
export class KnownConnection {
  readonly client: TLSSocket;
  readonly server: TLSSocket;
  readonly secrets: KnownSecrets;
  /** Records that the server has read in the application's key. */
  readRecords = 0;
  /** Records that the server has written in it; the first are its session tickets. */
  writtenRecords: number;

  private constructor(client: TLSSocket, server: TLSSocket, secrets: KnownSecrets, tickets: number) {
    this.client = client;
    this.server = server;
    this.secrets = secrets;
    this.writtenRecords = tickets;
  }

  /** Makes one over a pair of sockets. @throws what a handshake may fail with. */
  static async open(cipher: Tls13Cipher): Promise<KnownConnection> {
    const [near, far] = streamSocketPair();
    const [nearSocket, farSocket] = [near, far].map(
      (fd) => new Socket({ fd, readable: true, writable: true }),
    );
    // Each by name: the service may have other defaults.
    const versions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: cipher } as const;
    const acceptor = createServer({ ...selfSigned(), ...versions });
    const client = connect({ socket: nearSocket, rejectUnauthorized: false, ...versions });
    try {
      const log: string[] = [];
      let tickets = 0;
      client.on('keylog', (line: Buffer) => log.push(line.toString('latin1')));
      client.on('session', () => {
        tickets += 1;
      });
      client.on('error', () => {});
      const opened = Promise.all([once(acceptor, 'secureConnection'), once(client, 'secureConnect')]);
      const failed = Promise.race([once(client, 'close'), once(acceptor, 'tlsClientError')]).then(() => {
        throw new Error('a TLS connection of this process to itself failed');
      });
      acceptor.emit('connection', farSocket);
      const [[server]] = (await Promise.race([opened, failed])) as [[TLSSocket], unknown];
      failed.catch(() => {});
      server.on('error', () => {});
      server.resume();
      client.resume();
      const known = new KnownConnection(client, server, secretsIn(log), 0);
      // What the client has read first is behind the tickets: all of them have come by then.
      await known.exchange(1, 0);
      known.writtenRecords += tickets;
      return known;
    } catch (error) {
      client.destroy();
      farSocket?.destroy();
      throw error;
    }
  }

  /** Sends so many records in each direction, one at a time. */
  async exchange(written: number, read: number): Promise<void> {
    for (let i = 0; i < written; i++) await passed(this.server, this.client);
    for (let i = 0; i < read; i++) await passed(this.client, this.server);
    this.writtenRecords += written;
    this.readRecords += read;
    // The read that brought the last record has come to its end.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Ends it, and forgets its secrets. */
  close(): void {
    this.client.destroy();
    this.server.destroy();
    for (const secret of Object.values(this.secrets)) secret.fill(0);
  }
}

function passed(from: TLSSocket, to: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error('a TLS connection of this process to itself was closed'));
    to.once('close', failed);
    to.once('data', () => {
      to.off('close', failed);
      resolve();
    });
    from.write('m');
  });
}

function secretsIn(log: readonly string[]): KnownSecrets {
  const secret = (label: string) => {
    const line = log.find((one) => one.startsWith(`${label} `));
    if (line === undefined) throw new Error(`the key log has no ${label}`);
    return Buffer.from(line.trim().split(' ')[2] ?? '', 'hex');
  };
  return { client: secret(LABELS.client), server: secret(LABELS.server), exporter: secret(LABELS.exporter) };
}
