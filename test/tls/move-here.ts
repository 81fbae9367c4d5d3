import { once } from 'node:events';
import type { AddressInfo, Server as NetServer } from 'node:net';
import { type ConnectionOptions, connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { handleOf } from '#moult/node/handle.js';
import { socketBelow } from '#moult/node/tls-sockets.js';
import { duplicate } from '#moult/os/descriptors/descriptor.js';
import { type AdoptTlsOptions, adoptTls, type MovedTlsSocket } from '#moult/tls/socket/moved-socket.js';
import { factsOf } from '#moult/tls/state/facts.js';
import type { Tls13Cipher, TlsState } from '#moult/tls/state/tls-state.js';
import type { Later } from '../support/tidy.js';

/** A connection of Node's own TLS whose secrets and counts are known without a look at its memory. */
export interface Known {
  readonly client: TLSSocket;
  readonly server: TLSSocket;
  readonly listener: NetServer;
  readonly state: TlsState;
}

/** How a client logs its secrets. Source: RFC 9850, 2.1. */
const LABELS = ['CLIENT_TRAFFIC_SECRET_0', 'SERVER_TRAFFIC_SECRET_0', 'EXPORTER_SECRET'] as const;

/** A server of Node's own TLS that tells the secrets of its connections. */
export async function listenKnown(later: Later, options: TlsOptions) {
  const listener = createServer({ minVersion: 'TLSv1.3', ...options });
  const secrets = new WeakMap<TLSSocket, Map<string, Buffer>>();
  listener.on('keylog', (line: Buffer, socket: TLSSocket) => {
    const [label = '', , secret = ''] = line.toString('latin1').trim().split(' ');
    const known = secrets.get(socket) ?? new Map<string, Buffer>();
    secrets.set(socket, known.set(label, Buffer.from(secret, 'hex')));
  });
  const sockets = new Set<TLSSocket>();
  listener.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  later(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  const { port } = listener.address() as AddressInfo;
  /** @param read records that the server has read, and @param written beside its tickets. */
  const stateOf = (socket: TLSSocket, read: number, written: number, tickets = 2): TlsState => {
    const [clientSecret, serverSecret, exporterSecret] = LABELS.map((label) =>
      secrets.get(socket)?.get(label),
    );
    if (!clientSecret || !serverSecret || !exporterSecret) throw new Error('secrets are missing');
    return {
      cipher: socket.getCipher().standardName as Tls13Cipher,
      clientSecret,
      serverSecret,
      exporterSecret,
      readSequence: BigInt(read),
      writeSequence: BigInt(tickets + written),
      left: Buffer.alloc(0),
      maxSend: 16_384,
      facts: factsOf(socket),
    };
  };
  return { listener, port, stateOf };
}

export type KnownListener = Awaited<ReturnType<typeof listenKnown>>;

/** A connection of Node's own client to it, over which one record has gone in each direction. */
export async function connectKnown(
  later: Later,
  { listener, port, stateOf }: KnownListener,
  options: ConnectionOptions = {},
): Promise<Known> {
  const accepted = once(listener, 'secureConnection');
  const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  later(() => client.destroy());
  await once(client, 'secureConnect');
  const [server] = (await accepted) as [TLSSocket];
  client.write('a');
  await once(server, 'data');
  server.write('b');
  await once(client, 'data');
  server.pause();
  server.removeAllListeners('data');
  return { client, server, listener, state: stateOf(server, 1, 1) };
}

/** Ends Node's own TLS on the server's side of a connection, and goes on with the record layer. */
export function moveHere({ server, state, listener }: Known, options: AdoptTlsOptions = {}): MovedTlsSocket {
  return adoptTls(takeDescriptor(server), state, { server: listener, ...options });
}

/** A descriptor of the connection; Node's own socket is destroyed, and has written nothing more. */
export function takeDescriptor(server: TLSSocket): number {
  handleOf(server)?.readStop();
  const fd = duplicate(handleOf(socketBelow(server))?.fd ?? -1);
  // Source: node src/stream_base.cc, AddMethods: everything by which a handle writes.
  for (const name of ['writeBuffer', 'writev', 'writeUtf8String', 'writeLatin1String', 'shutdown'])
    Object.defineProperty(handleOf(server), name, { value: () => -1 });
  server.destroy();
  return fd;
}
