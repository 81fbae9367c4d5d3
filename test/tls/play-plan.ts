import { createHash } from 'node:crypto';
import { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { fixedBytes } from '#moult/os/libcrypto.js';
import { CIPHER_SUITES } from '#moult/tls/keys/cipher-suites.js';
import { TrafficKey } from '#moult/tls/keys/traffic-key.js';
import { NodeProtection } from '#moult/tls/records/node-protection.js';
import type { AdoptTlsOptions } from '#moult/tls/socket/moved-socket.js';
import type { Later } from '../support/tidy.js';
import { connectKnown, type KnownListener, moveHere, takeDescriptor } from './move-here.js';
import type { Plan, Step } from './random-plan.js';
import { rawRecord } from './raw-record.js';

/** What came of a plan, on both sides. */
export interface Outcome {
  /** What the server's service read: its length and hash. */
  readonly read: string;
  /** The code of the server's error. */
  readonly error: string | undefined;
  /** Whether the service heard that the client ended. */
  readonly hasEnded: boolean;
  /** What the client was sent: all data; nothing where the server had an error. */
  readonly echoed: string | undefined;
  /** Alerts that the client was sent; undefined where the connection was reset, which may lose them. */
  readonly alerts: readonly string[] | undefined;
  /** How often the server took its next key. */
  readonly keyUpdates: number;
}

/** Who serves: Node's own TLS, or the record layer. */
export type Side = 'node' | { readonly moved: AdoptTlsOptions };

/** Has a client send what is planned to a server that sends back what it reads. */
export async function play(later: Later, listener: KnownListener, plan: Plan, side: Side): Promise<Outcome> {
  const known = await connectKnown(later, listener);
  const { state } = known;
  const suite = CIPHER_SUITES[state.cipher];
  const raw = new Socket({ fd: takeDescriptor(known.client), readable: true, writable: true });
  const server: TLSSocket = side === 'node' ? known.server : moveHere(known, side.moved);
  const read: Buffer[] = [];
  let error: string | undefined;
  let hasEnded = false;
  server.on('data', (data: Buffer) => {
    read.push(data);
    server.write(data);
  });
  server.on('error', (cause: NodeJS.ErrnoException) => {
    error ??= cause.code;
    // Node's own goes on living where its client has sent a fatal alert.
    setImmediate(() => server.destroy());
  });
  server.on('end', () => {
    hasEnded = true;
  });
  if ('begin' in server && typeof server.begin === 'function') server.begin();
  else server.resume();

  const client = new PlanClient(raw, new TrafficKey(suite, state.serverSecret, 3));
  const serverClosed = new Promise((resolve) => server.once('close', resolve));
  const closed = Promise.all([serverClosed, client.closed]);
  await client.send(recordsOf(plan, new TrafficKey(suite, state.clientSecret, 1)), plan.writeBytes);
  await closed;
  return {
    read: summaryOf(read),
    error,
    hasEnded,
    echoed: error === undefined ? summaryOf(client.data) : undefined,
    alerts: client.wasReset ? undefined : client.alerts,
    keyUpdates: error === undefined ? client.keyUpdates : 0,
  };
}

function summaryOf(pieces: readonly Buffer[]): string {
  const bytes = Buffer.concat(pieces);
  return `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;
}

/** What is planned as the bytes of records. */
export function recordsOf({ steps }: Plan, first: TrafficKey): Buffer {
  let key = first;
  const records: Buffer[] = [];
  for (const step of steps) {
    if (step.kind === 'key update') {
      records.push(...keyUpdate(key, step));
      key = key.next();
    } else records.push(recordOf(key, step));
  }
  return Buffer.concat(records);
}

function keyUpdate(key: TrafficKey, { request, pieces }: Step & { kind: 'key update' }): Buffer[] {
  const message = Buffer.from([24, 0, 0, 1, request]);
  const records: Buffer[] = [];
  let at = 0;
  for (const length of [...pieces, message.length]) {
    const piece = message.subarray(at, at + length);
    if (piece.length > 0) records.push(rawRecord(key, 22, piece, 0));
    at += piece.length;
  }
  return records;
}

function recordOf(key: TrafficKey, step: Exclude<Step, { kind: 'key update' }>): Buffer {
  if (step.kind === 'bytes') return step.bytes;
  if (step.kind === 'record') return rawRecord(key, step.type, step.content, step.padding);
  const record = rawRecord(key, 23, step.content, 0);
  if (step.kind === 'cut') return record.subarray(0, record.length - step.bytes);
  record[step.at] = (record[step.at] ?? 0) ^ step.by;
  return record;
}

/** A client that makes its records itself, and reads those of its server. */
class PlanClient {
  readonly data: Buffer[] = [];
  readonly alerts: string[] = [];
  readonly closed: Promise<void>;
  keyUpdates = 0;
  wasReset = false;
  #socket: Socket;
  #key: TrafficKey;
  #bytes = Buffer.alloc(0);
  #protection = new NodeProtection();

  constructor(socket: Socket, key: TrafficKey) {
    this.#socket = socket;
    this.#key = key;
    socket.on('error', () => {
      this.wasReset = true;
    });
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  async send(bytes: Buffer, writeBytes: number): Promise<void> {
    const size = writeBytes === 0 ? bytes.length : writeBytes;
    for (let at = 0; at < bytes.length && !this.#socket.destroyed; at += size) {
      this.#socket.write(bytes.subarray(at, at + size));
      if (writeBytes > 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#socket.end();
  }

  #read(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length >= 5 && this.#bytes.length >= 5 + this.#bytes.readUInt16BE(3)) {
      const length = this.#bytes.readUInt16BE(3);
      const memory = fixedBytes(5 + length);
      this.#bytes.copy(memory.bytes);
      this.#bytes = this.#bytes.subarray(5 + length);
      const inner = this.#protection.open(this.#key, memory, 0, length, memory, 5);
      if (inner < 0) throw new Error('the server sent a record that is none');
      let end = 5 + inner - 1;
      while (memory.bytes[end] === 0) end -= 1;
      const content = memory.bytes.subarray(5, end);
      if (memory.bytes[end] === 23) this.data.push(Buffer.from(content));
      else if (memory.bytes[end] === 21) this.alerts.push(content.toString('hex'));
      else if (content.equals(Buffer.from([24, 0, 0, 1, 0]))) {
        this.keyUpdates += 1;
        this.#key = this.#key.next();
      } else throw new Error(`the server sent ${content.toString('hex')}`);
    }
  }
}
