import { createCipheriv } from 'node:crypto';
import type { TrafficKey } from '#moult/tls/keys/traffic-key.js';

/**
 * A record as a client might make it, by node:crypto alone.
 * @param padding so many zeros behind the type of the content.
 */
export function rawRecord(
  key: TrafficKey,
  type: number,
  content: Buffer | undefined,
  padding: number,
): Buffer {
  const inner = Buffer.concat([content ?? Buffer.alloc(0), Buffer.from([type]), Buffer.alloc(padding)]);
  const header = Buffer.from([23, 3, 3, (inner.length + 16) >> 8, (inner.length + 16) & 255]);
  const nonce = Buffer.alloc(12);
  const encryption = key.key;
  key.takeNonce(new DataView(nonce.buffer, nonce.byteOffset, 12), 0);
  const cipher = createCipheriv(key.suite.nodeName as 'aes-128-gcm', encryption, nonce, {
    authTagLength: 16,
  });
  cipher.setAAD(header);
  const body = Buffer.concat([cipher.update(inner), cipher.final()]);
  return Buffer.concat([header, body, cipher.getAuthTag()]);
}
