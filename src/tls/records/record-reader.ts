import { type FixedBytes, fixedBytes } from '../../os/libcrypto.js';
import type { TrafficKey } from '../keys/traffic-key.js';
import { MAX_PLAINTEXT_BYTES } from '../state/tls-state.js';
import {
  BAD_RECORD_MAC,
  brokenBy,
  CLOSE_NOTIFY,
  DECODE_ERROR,
  HAS_OLD_RECORD_LAYER,
  PROTOCOL_VERSION,
  RECORD_OVERFLOW,
  type TlsFailure,
  toldBy,
  UNEXPECTED_MESSAGE,
  USER_CANCELED,
} from './alerts.js';
import { PostHandshakeReader } from './post-handshake.js';
import { ReadContent } from './read-content.js';
import { ALERT, APPLICATION_DATA, HANDSHAKE, HEADER_BYTES, MAX_BODY_BYTES } from './record.js';
import type { RecordProtection } from './record-protection.js';

/** As many records without content in a row, and alerts that say nothing, does OpenSSL take. Source: ssl/record/record_local.h. */
const MAX_EMPTY_RECORDS = 32;
const MAX_EMPTY_ALERTS = 4;

/** What came of bytes that were read off the socket. */
export interface Received {
  /** What the client wrote, in memory of its own; undefined where nothing came whole. */
  readonly plaintext: Buffer | undefined;
  /** Whether the client has said by close_notify that it sends no more. */
  readonly hasClosed: boolean;
  /** Whether the client has asked for a KeyUpdate before our next data. */
  readonly wantsKeyUpdate: boolean;
  /** Why the connection can't go on; what came before is in the plaintext. */
  readonly failure: TlsFailure | undefined;
}

/** Makes what a client wrote out of the bytes of its records. */
export class RecordReader {
  #protection: RecordProtection;
  #key: TrafficKey;
  /** The beginning of a record whose rest has not come: room for its header, then for all of it. */
  #partial: FixedBytes | undefined;
  #have = 0;
  #messages = new PostHandshakeReader();
  #emptyRecords = 0;
  #emptyAlerts = 0;
  #content = new ReadContent();
  #wantsKeyUpdate = false;
  #hasClosed = false;
  #failure: TlsFailure | undefined;

  constructor(protection: RecordProtection, key: TrafficKey) {
    this.#protection = protection;
    this.#key = key;
  }

  /** The key of the next record. */
  get key(): TrafficKey {
    return this.#key;
  }

  /** Whether the client has ended its side, or broken the connection: what else it sends means nothing. */
  get isOver(): boolean {
    return this.#hasClosed || this.#failure !== undefined;
  }

  /** Whether only whole messages have come; the beginning of a record may be there. */
  get isAtRest(): boolean {
    return !this.isOver && !this.#messages.isWithin;
  }

  /** A copy of the beginning of a record whose rest has not come. */
  left(): Buffer {
    return Buffer.from(this.#partial?.bytes.subarray(0, this.#have) ?? []);
  }

  /** Takes the first bytes of the memory, which were read off the socket. The memory is overwritten. */
  take(memory: FixedBytes, length: number): Received {
    this.#wantsKeyUpdate = false;
    this.#content.begin(length, this.#have);
    let at = 0;
    while (at < length && !this.isOver) {
      if (this.#partial === undefined && length - at >= HEADER_BYTES) {
        const bodyBytes = this.#bodyBytes(memory.bytes, at);
        if (bodyBytes < 0) break;
        if (length - at >= HEADER_BYTES + bodyBytes) {
          this.#open(memory, at, bodyBytes);
          at += HEADER_BYTES + bodyBytes;
          continue;
        }
      }
      at += this.#keep(memory.bytes.subarray(at, length));
    }
    const plaintext = this.#content.take();
    return {
      plaintext,
      hasClosed: this.#hasClosed,
      wantsKeyUpdate: this.#wantsKeyUpdate,
      failure: this.#failure,
    };
  }

  /** Leaves nothing of the key, and of what had come. */
  forget(): void {
    this.#protection.forget(this.#key);
    this.#partial?.bytes.fill(0);
    this.#partial = undefined;
    this.#have = 0;
  }

  /** How long the body of a record is; -1 where it can't be one. */
  #bodyBytes(bytes: Buffer, at: number): number {
    const bodyBytes = ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0);
    // In the order in which OpenSSL looks.
    if (HAS_OLD_RECORD_LAYER && bytes[at + 1] !== 3)
      this.#failure = brokenBy('wrong version number', PROTOCOL_VERSION);
    else if (bytes[at] !== APPLICATION_DATA) this.#failure = brokenBy('bad record type', UNEXPECTED_MESSAGE);
    else if (bytes[at + 1] !== 3 || bytes[at + 2] !== 3)
      this.#failure = brokenBy('wrong version number', DECODE_ERROR);
    else if (bodyBytes > MAX_BODY_BYTES)
      this.#failure = brokenBy('encrypted length too long', RECORD_OVERFLOW);
    return this.#failure === undefined ? bodyBytes : -1;
  }

  /** Keeps as much of the bytes as the record needs whose beginning they are, or go on; opens it when it is whole. */
  #keep(bytes: Buffer): number {
    this.#partial ??= this.#roomFor(bytes);
    const partial = this.#partial;
    if (partial === undefined) return bytes.length;
    const taken = bytes.copy(partial.bytes, this.#have);
    this.#have += taken;
    if (this.#have < partial.bytes.length) return taken;
    const bodyBytes = this.#bodyBytes(partial.bytes, 0);
    if (bodyBytes < 0) return taken;
    if (this.#have < HEADER_BYTES + bodyBytes) {
      this.#partial = fixedBytes(HEADER_BYTES + bodyBytes);
      partial.bytes.copy(this.#partial.bytes);
      return taken;
    }
    this.#partial = undefined;
    this.#have = 0;
    this.#open(partial, 0, bodyBytes);
    return taken;
  }

  #roomFor(bytes: Buffer): FixedBytes {
    if (bytes.length < HEADER_BYTES) return fixedBytes(HEADER_BYTES);
    return fixedBytes(HEADER_BYTES + Math.max(0, this.#bodyBytes(bytes, 0)));
  }

  #open(memory: FixedBytes, at: number, bodyBytes: number): void {
    const into = this.#content.memoryFor(memory);
    const from = this.#content.placeFor(at, bodyBytes);
    const length = this.#protection.open(this.#key, memory, at, bodyBytes, into, from);
    if (length < 0) {
      this.#failure = brokenBy('decryption failed or bad record mac', BAD_RECORD_MAC);
      return;
    }
    let end = from + length - 1;
    while (end > from && into.bytes[end] === 0) end -= 1;
    if (end - from > MAX_PLAINTEXT_BYTES) {
      this.#failure = brokenBy('data length too long', RECORD_OVERFLOW);
      return;
    }
    const type = into.bytes[end];
    if (end === from && !this.#mayBeEmpty()) return;
    if (end > from) this.#emptyRecords = 0;
    if (type !== HANDSHAKE && this.#messages.isWithin) {
      this.#failure = brokenBy('mixed handshake and non handshake data', UNEXPECTED_MESSAGE);
      return;
    }
    if (type !== ALERT && end > from) this.#emptyAlerts = 0;
    if (type === APPLICATION_DATA) this.#content.add(into.bytes, from, end);
    else if (type === ALERT) this.#takeAlert(into.bytes.subarray(from, end));
    else if (type === HANDSHAKE) this.#takeMessage(into.bytes.subarray(from, end));
    else this.#failure = brokenBy('bad record type', UNEXPECTED_MESSAGE);
  }

  #mayBeEmpty(): boolean {
    this.#emptyRecords += 1;
    if (this.#emptyRecords <= MAX_EMPTY_RECORDS) return true;
    this.#failure = brokenBy('record too small', UNEXPECTED_MESSAGE);
    return false;
  }

  // The level means nothing any more; user_canceled says nothing that close_notify does not say. Source: RFC 8446, 6.
  #takeAlert(content: Buffer): void {
    const description = content[1];
    if (content.length === 0) this.#failure = brokenBy('bad length', UNEXPECTED_MESSAGE);
    else if (content.length !== 2 || description === undefined)
      this.#failure = brokenBy('invalid alert', UNEXPECTED_MESSAGE);
    else if (description === CLOSE_NOTIFY) this.#hasClosed = true;
    else if (description !== USER_CANCELED) this.#failure = toldBy(description);
    else if (this.#emptyAlerts < MAX_EMPTY_ALERTS) this.#emptyAlerts += 1;
    else this.#failure = brokenBy('too many warn alerts', UNEXPECTED_MESSAGE);
  }

  #takeMessage(content: Buffer): void {
    const message = this.#messages.take(content);
    if (message === undefined) return;
    if (message !== 'update' && message !== 'update-and-answer') {
      this.#failure = message;
      return;
    }
    const next = this.#key.next();
    this.#protection.forget(this.#key);
    this.#key = next;
    if (message === 'update-and-answer') this.#wantsKeyUpdate = true;
  }
}
