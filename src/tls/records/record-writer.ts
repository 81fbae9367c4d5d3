import { type FixedBytes, fixedBytes } from '../../os/libcrypto.js';
import type { TrafficKey } from '../keys/traffic-key.js';
import { MAX_PLAINTEXT_BYTES } from '../state/tls-state.js';
import { keyUpdateMessage } from './post-handshake.js';
import { ALERT, APPLICATION_DATA, HANDSHAKE, HEADER_BYTES, OVERHEAD_BYTES } from './record.js';
import type { RecordProtection } from './record-protection.js';
import { tellSealed } from './sealed-records.js';

/** What a stream is given to write. */
export interface Chunk {
  readonly chunk: Buffer | string;
  readonly encoding: BufferEncoding;
}

/** How long each is in bytes, and all together. */
export function bytesOf(chunks: readonly Chunk[]): number {
  let bytes = 0;
  for (const { chunk, encoding } of chunks)
    bytes += typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length;
  return bytes;
}

/** A KeyUpdate as a record. */
const KEY_UPDATE_BYTES = OVERHEAD_BYTES + 5;
/** Room for the longest record, and a KeyUpdate before it. */
const RECORD_ROOM = KEY_UPDATE_BYTES + OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES;

let single: FixedBytes | undefined;

/** Long data, from its beginning to its end in pieces. */
export class Plaintext {
  #buffers: Buffer[];
  #index = 0;
  #at = 0;

  constructor(chunks: readonly Chunk[]) {
    this.#buffers = chunks.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    );
  }

  get isOver(): boolean {
    return this.#index >= this.#buffers.length;
  }

  /** Copies at most so many bytes, and goes on behind them. @returns how many. */
  copy(into: Buffer, at: number, limit: number): number {
    let copied = 0;
    while (copied < limit) {
      const buffer = this.#buffers[this.#index];
      if (buffer === undefined) break;
      const count = buffer.copy(into, at + copied, this.#at, this.#at + limit - copied);
      copied += count;
      this.#at += count;
      if (this.#at < buffer.length) break;
      this.#index += 1;
      this.#at = 0;
    }
    // What is empty at the end is no record.
    while (!this.isOver && this.#buffers[this.#index]?.length === 0) this.#index += 1;
    return copied;
  }
}

/** Makes records out of what is written to a client. */
export class RecordWriter {
  #protection: RecordProtection;
  #key: TrafficKey;
  #maxRecords: number;
  /** The largest content of a record, in bytes. */
  maxSend: number;

  /** @param maxRecords so many records are sealed with one key; by default as many as its cipher suite allows. */
  constructor(
    protection: RecordProtection,
    key: TrafficKey,
    maxSend: number,
    maxRecords = key.suite.maxRecords,
  ) {
    this.#protection = protection;
    this.#key = key;
    this.maxSend = maxSend;
    this.#maxRecords = maxRecords;
  }

  /** The key of the next record. */
  get key(): TrafficKey {
    return this.#key;
  }

  /**
   * Data that goes into one record. @param length in bytes, at most {@link maxSend}.
   * @returns where the record ends, in memory that the next one overwrites.
   */
  one(chunks: readonly Chunk[], length: number): { readonly memory: FixedBytes; readonly end: number } {
    single ??= fixedBytes(RECORD_ROOM);
    const memory = single;
    const start = this.#keepKeyFresh(memory, 0);
    let at = start + HEADER_BYTES;
    for (const { chunk, encoding } of chunks)
      at +=
        typeof chunk === 'string' ? memory.bytes.write(chunk, at, encoding) : chunk.copy(memory.bytes, at);
    return { memory, end: this.#seal(APPLICATION_DATA, memory, start, length) };
  }

  /** As many records of long data as the memory has room for. @returns where they end. */
  many(plaintext: Plaintext, memory: FixedBytes): number {
    const room = KEY_UPDATE_BYTES + OVERHEAD_BYTES + this.maxSend;
    let end = 0;
    while (!plaintext.isOver && end + room <= memory.bytes.length) {
      const start = this.#keepKeyFresh(memory, end);
      const length = plaintext.copy(memory.bytes, start + HEADER_BYTES, this.maxSend);
      end = length === 0 ? start : this.#seal(APPLICATION_DATA, memory, start, length);
    }
    return end;
  }

  /** An alert as a record. */
  alert(level: number, description: number): Buffer {
    return this.#small(ALERT, Buffer.from([level, description]));
  }

  /** A KeyUpdate as a record; what follows has the next key. */
  keyUpdate(): Buffer {
    const record = this.#small(HANDSHAKE, keyUpdateMessage(false));
    this.#nextKey();
    return record;
  }

  /** Leaves nothing of the key. */
  forget(): void {
    this.#protection.forget(this.#key);
  }

  #small(type: number, content: Buffer): Buffer {
    const memory = fixedBytes(OVERHEAD_BYTES + content.length);
    content.copy(memory.bytes, HEADER_BYTES);
    this.#seal(type, memory, 0, content.length);
    return memory.bytes;
  }

  /** Puts a KeyUpdate where the next record would go, if the key has sealed enough. @returns where the record goes. */
  #keepKeyFresh(memory: FixedBytes, at: number): number {
    if (this.#key.sequence < this.#maxRecords - 1) return at;
    const message = keyUpdateMessage(false);
    message.copy(memory.bytes, at + HEADER_BYTES);
    const end = this.#seal(HANDSHAKE, memory, at, message.length);
    this.#nextKey();
    return end;
  }

  #nextKey(): void {
    const next = this.#key.next();
    this.#protection.forget(this.#key);
    this.#key = next;
  }

  #seal(type: number, memory: FixedBytes, at: number, length: number): number {
    tellSealed(this.#key);
    return this.#protection.seal(this.#key, type, memory, at, length);
  }
}
