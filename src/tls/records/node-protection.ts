import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { FixedBytes } from '../../os/libcrypto.js';
import { NONCE_BYTES } from '../keys/key-schedule.js';
import type { TrafficKey } from '../keys/traffic-key.js';
import { APPLICATION_DATA, HEADER_BYTES, TAG_BYTES, writeHeader } from './record.js';
import type { RecordProtection } from './record-protection.js';

const WITH_TAG = { authTagLength: TAG_BYTES } as const;

/** Records by node:crypto, where libcrypto can't be called. */
export class NodeProtection implements RecordProtection {
  readonly name = 'node:crypto';
  #nonce = Buffer.alloc(NONCE_BYTES);
  #nonceView = new DataView(this.#nonce.buffer, this.#nonce.byteOffset, NONCE_BYTES);

  seal(key: TrafficKey, type: number, { bytes }: FixedBytes, at: number, length: number): number {
    const contentAt = at + HEADER_BYTES;
    const tagAt = contentAt + length + 1;
    if (tagAt + TAG_BYTES > bytes.length)
      throw new RangeError(`a record to ${tagAt + TAG_BYTES} does not lie in ${bytes.length} bytes`);
    writeHeader(bytes, at, length + 1 + TAG_BYTES);
    bytes[tagAt - 1] = type;
    key.takeNonce(this.#nonceView, 0);
    const cipher = createCipheriv(key.suite.nodeName as 'aes-128-gcm', key.key, this.#nonce, WITH_TAG);
    cipher.setAAD(bytes.subarray(at, contentAt));
    bytes.set(cipher.update(bytes.subarray(contentAt, tagAt)), contentAt);
    cipher.final();
    bytes.set(cipher.getAuthTag(), tagAt);
    return tagAt + TAG_BYTES;
  }

  open(
    key: TrafficKey,
    { bytes }: FixedBytes,
    at: number,
    bodyBytes: number,
    into: FixedBytes,
    intoAt: number,
  ): number {
    const length = bodyBytes - TAG_BYTES;
    if (length < 1 || bytes[at] !== APPLICATION_DATA) return -1;
    const contentAt = at + HEADER_BYTES;
    key.takeNonce(this.#nonceView, 0);
    const decipher = createDecipheriv(key.suite.nodeName as 'aes-128-gcm', key.key, this.#nonce, WITH_TAG);
    decipher.setAAD(bytes.subarray(at, contentAt));
    decipher.setAuthTag(bytes.subarray(contentAt + length, contentAt + bodyBytes));
    const content = decipher.update(bytes.subarray(contentAt, contentAt + length));
    try {
      decipher.final();
    } catch {
      return -1;
    }
    into.bytes.set(content, intoAt);
    return length;
  }

  forget(key: TrafficKey): void {
    key.forget();
  }
}
