import type { CipherSuite } from './cipher-suites.js';
import { keyAndIv, nextSecret } from './key-schedule.js';

/** What a traffic secret becomes when its first record comes. */
interface Material {
  readonly key: Buffer;
  /** The nonce base: the first 4 bytes are used as they are, the number of the record goes into the other 8. */
  readonly iv: Buffer;
  readonly ivFirst: number;
  readonly ivHigh: number;
  readonly ivLow: number;
}

/** One key of one direction, and the number of its next record. */
export class TrafficKey {
  readonly suite: CipherSuite;
  /** Filled with zeros by {@link forget}. */
  readonly secret: Buffer;
  #sequence: number;
  #material: Material | undefined;
  #isForgotten = false;

  /** @param secret is copied. @param sequence of the next record. */
  constructor(suite: CipherSuite, secret: Buffer, sequence: number) {
    if (secret.length !== suite.hashBytes)
      throw new RangeError(
        `expected a secret of ${suite.hashBytes} bytes for ${suite.name}, got ${secret.length}`,
      );
    if (!Number.isSafeInteger(sequence) || sequence < 0)
      throw new RangeError(`expected a record number from 0 to 2^53, got ${sequence}`);
    this.suite = suite;
    this.secret = Buffer.alloc(secret.length, secret);
    this.#sequence = sequence;
  }

  /** The number of the next record. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Derived when it is first asked for: idle connections never pay. */
  get key(): Buffer {
    return this.#derived().key;
  }

  /** Writes the nonce of the next record, and counts it: no number is used twice. @param at where in the view. */
  takeNonce(into: DataView, at: number): void {
    const { ivFirst, ivHigh, ivLow } = this.#derived();
    const number = this.#sequence;
    this.#sequence = number + 1;
    into.setUint32(at, ivFirst);
    into.setUint32(at + 4, (ivHigh ^ Math.floor(number / 0x1_0000_0000)) >>> 0);
    into.setUint32(at + 8, (ivLow ^ (number >>> 0)) >>> 0);
  }

  /** The key after a KeyUpdate; this one is of no use any more. */
  next(): TrafficKey {
    const secret = nextSecret(this.suite, this.secret);
    const next = new TrafficKey(this.suite, secret, 0);
    secret.fill(0);
    this.forget();
    return next;
  }

  /** Fills secret and key with zeros. */
  forget(): void {
    this.#isForgotten = true;
    this.secret.fill(0);
    this.#material?.key.fill(0);
    this.#material?.iv.fill(0);
    this.#material = undefined;
  }

  #derived(): Material {
    if (this.#isForgotten) throw new Error('this traffic key was forgotten');
    if (this.#material === undefined) {
      const { key, iv } = keyAndIv(this.suite, this.secret);
      const [ivFirst, ivHigh, ivLow] = [iv.readUInt32BE(0), iv.readUInt32BE(4), iv.readUInt32BE(8)];
      this.#material = { key, iv, ivFirst, ivHigh, ivLow };
    }
    return this.#material;
  }
}
