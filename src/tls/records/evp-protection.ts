import { keepAlive } from '../../os/libc.js';
import { type FixedBytes, fixedBytes, GET_TAG, type Libcrypto, SET_TAG } from '../../os/libcrypto.js';
import type { CipherSuite } from '../keys/cipher-suites.js';
import type { TrafficKey } from '../keys/traffic-key.js';
import { APPLICATION_DATA, HEADER_BYTES, TAG_BYTES, writeHeader } from './record.js';
import type { RecordProtection } from './record-protection.js';

/** A context of libcrypto, and the key that is in it. */
interface Context {
  readonly pointer: number;
  holds: TrafficKey | undefined;
}

const KEY_AT = 0;
const KEY_ROOM = 32;
const NONCE_AT = KEY_ROOM;
/** libcrypto writes here how many bytes it has written; that is always what it got. */
const COUNT_AT = NONCE_AT + 16;
const SCRATCH_BYTES = COUNT_AT + 8;

/**
 * Records by libcrypto. The whole process has one context for each cipher and direction, which gets a new key when
 * another connection's record comes: a connection costs no memory outside of the heap.
 */
export class EvpProtection implements RecordProtection {
  readonly name = 'libcrypto';
  #calls: Libcrypto;
  #scratch = fixedBytes(SCRATCH_BYTES);
  #nonceView = new DataView(this.#scratch.bytes.buffer, this.#scratch.bytes.byteOffset, SCRATCH_BYTES);
  #sealing = new Map<CipherSuite, Context>();
  #opening = new Map<CipherSuite, Context>();

  constructor(calls: Libcrypto) {
    this.#calls = calls;
  }

  seal(key: TrafficKey, type: number, memory: FixedBytes, at: number, length: number): number {
    const tagAt = at + HEADER_BYTES + length + 1;
    within(memory, at, tagAt + TAG_BYTES);
    const { bytes, address } = memory;
    writeHeader(bytes, at, length + 1 + TAG_BYTES);
    bytes[tagAt - 1] = type;
    const context = this.#ready(key, 1);
    const calls = this.#calls;
    const count = this.#scratch.address + COUNT_AT;
    const content = address + at + HEADER_BYTES;
    const done =
      calls.update(context, 0, count, address + at, HEADER_BYTES) &
      calls.update(context, content, count, content, length + 1) &
      calls.final(context, address + tagAt, count) &
      calls.control(context, GET_TAG, TAG_BYTES, address + tagAt);
    keepAlive(bytes);
    if (done !== 1) throw new Error('libcrypto did not seal a record');
    return tagAt + TAG_BYTES;
  }

  open(
    key: TrafficKey,
    memory: FixedBytes,
    at: number,
    bodyBytes: number,
    into: FixedBytes,
    intoAt: number,
  ): number {
    const length = bodyBytes - TAG_BYTES;
    if (length < 1 || memory.bytes[at] !== APPLICATION_DATA) return -1;
    within(memory, at, at + HEADER_BYTES + bodyBytes);
    within(into, intoAt, intoAt + length);
    const context = this.#ready(key, 0);
    const calls = this.#calls;
    const count = this.#scratch.address + COUNT_AT;
    const content = memory.address + at + HEADER_BYTES;
    const out = into.address + intoAt;
    const done =
      calls.update(context, 0, count, memory.address + at, HEADER_BYTES) &
      calls.update(context, out, count, content, length) &
      calls.control(context, SET_TAG, TAG_BYTES, content + length) &
      calls.final(context, out + length, count);
    keepAlive(memory.bytes, into.bytes);
    return done === 1 ? length : -1;
  }

  forget(key: TrafficKey): void {
    key.forget();
    for (const [contexts, isEncrypting] of [[this.#sealing, 1] as const, [this.#opening, 0] as const]) {
      const context = contexts.get(key.suite);
      if (context?.holds !== key) continue;
      context.holds = undefined;
      this.#scratch.bytes.fill(0);
      this.#calls.init(context.pointer, this.#scratch.address, this.#scratch.address, isEncrypting);
    }
  }

  /** The context with key and nonce of the next record. */
  #ready(key: TrafficKey, isEncrypting: 0 | 1): number {
    const contexts = isEncrypting === 1 ? this.#sealing : this.#opening;
    let context = contexts.get(key.suite);
    if (context === undefined) {
      const pointer = this.#calls.newContext(key.suite.evpName, isEncrypting === 1);
      context = { pointer, holds: undefined };
      contexts.set(key.suite, context);
    }
    const { bytes, address } = this.#scratch;
    const isKnown = context.holds === key;
    if (!isKnown) bytes.set(key.key, KEY_AT);
    key.takeNonce(this.#nonceView, NONCE_AT);
    const done = this.#calls.init(
      context.pointer,
      isKnown ? 0 : address + KEY_AT,
      address + NONCE_AT,
      isEncrypting,
    );
    if (!isKnown) bytes.fill(0, KEY_AT, KEY_ROOM);
    if (done !== 1) throw new Error(`libcrypto took no key for ${key.suite.name}`);
    context.holds = key;
    return context.pointer;
  }
}

// libcrypto gets addresses: what does not lie in the memory must never reach it.
function within({ bytes, address }: FixedBytes, from: number, to: number): void {
  if (address === 0 || from < 0 || to > bytes.length)
    throw new RangeError(`a record from ${from} to ${to} does not lie in ${bytes.length} bytes`);
}
