import { createHash, createHmac } from 'node:crypto';
import type { CipherSuite } from './cipher-suites.js';

/** How long the nonce of a record is, in bytes, with each cipher suite. Source: RFC 8446, 5.3. */
export const NONCE_BYTES = 12;

const NOTHING = Buffer.alloc(0);

/**
 * HKDF-Expand-Label.
 * @param label without its `tls13 ` in front.
 * @param length of the result, in bytes, at most 255 times the hash.
 * Source: RFC 8446, 7.1; RFC 5869, 2.3.
 */
export function expandLabel(
  hash: CipherSuite['hash'],
  secret: Buffer,
  label: string,
  context: Buffer,
  length: number,
): Buffer {
  const name = Buffer.from(`tls13 ${label}`, 'latin1');
  const info = Buffer.concat([
    Buffer.from([length >> 8, length & 0xff, name.length]),
    name,
    Buffer.from([context.length]),
    context,
  ]);
  const out = Buffer.alloc(length);
  let block = NOTHING;
  for (let at = 0, count = 1; at < length; at += block.length, count += 1) {
    const mac = createHmac(hash, secret)
      .update(block)
      .update(info)
      .update(Buffer.from([count]));
    block = mac.digest();
    block.copy(out, at);
  }
  block.fill(0);
  return out;
}

/** The key and the nonce base of a traffic secret. Source: RFC 8446, 7.3. */
export function keyAndIv(suite: CipherSuite, secret: Buffer): { key: Buffer; iv: Buffer } {
  return {
    key: expandLabel(suite.hash, secret, 'key', NOTHING, suite.keyBytes),
    iv: expandLabel(suite.hash, secret, 'iv', NOTHING, NONCE_BYTES),
  };
}

/** The traffic secret that follows at a KeyUpdate. Source: RFC 8446, 7.2. */
export function nextSecret(suite: CipherSuite, secret: Buffer): Buffer {
  return expandLabel(suite.hash, secret, 'traffic upd', NOTHING, suite.hashBytes);
}

/** What both ends of a connection get for a label and a context. Source: RFC 8446, 7.5. */
export function exportKeyingMaterial(
  suite: CipherSuite,
  exporterSecret: Buffer,
  label: string,
  context: Buffer,
  length: number,
): Buffer {
  const digest = (data: Buffer) => createHash(suite.hash).update(data).digest();
  const derived = expandLabel(suite.hash, exporterSecret, label, digest(NOTHING), suite.hashBytes);
  const material = expandLabel(suite.hash, derived, 'exporter', digest(context), length);
  derived.fill(0);
  return material;
}
