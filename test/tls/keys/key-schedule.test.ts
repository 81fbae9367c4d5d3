import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { CIPHER_SUITES } from '#moult/tls/keys/cipher-suites.js';
import { expandLabel, keyAndIv } from '#moult/tls/keys/key-schedule.js';
import { TrafficKey } from '#moult/tls/keys/traffic-key.js';
import { hex } from '../hex.js';

const SUITE = CIPHER_SUITES.TLS_AES_128_GCM_SHA256;
const SERVER_SECRET = hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643');
const CLIENT_SECRET = hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5');

describe('the key schedule', () => {
  // Source: RFC 8448, 3.
  it('gives the keys of the simple handshake of RFC 8448', () => {
    assert.deepEqual(keyAndIv(SUITE, SERVER_SECRET), {
      key: hex('9f02283b6c9c07efc26bb9f2ac92e356'),
      iv: hex('cf782b88dd83549aadf1e984'),
    });
    assert.deepEqual(keyAndIv(SUITE, CLIENT_SECRET), {
      key: hex('17422dda596ed5d9acd890e3c63f5051'),
      iv: hex('5b78923dee08579033e523d9'),
    });
  });

  it('expands more than one hash, and each length alike at its beginning', () => {
    const long = expandLabel('sha256', SERVER_SECRET, 'exporter', Buffer.alloc(0), 255 * 32);
    assert.equal(long.length, 255 * 32);
    // The length is part of what is expanded: shorter ones are others.
    assert.notDeepEqual(
      expandLabel('sha256', SERVER_SECRET, 'exporter', Buffer.alloc(0), 32),
      long.subarray(0, 32),
    );
    assert.equal(createHash('sha256').update(long).digest('hex').length, 64);
  });

  it('has nonces that differ for each record, also above 2^32', () => {
    const view = new DataView(new ArrayBuffer(12));
    const nonceOf = (sequence: number) => {
      new TrafficKey(SUITE, SERVER_SECRET, sequence).takeNonce(view, 0);
      return Buffer.from(view.buffer).toString('hex');
    };
    const iv = BigInt('0xcf782b88dd83549aadf1e984');
    for (const sequence of [0, 1, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 48 + 7, 2 ** 53 - 2])
      assert.equal(nonceOf(sequence), (iv ^ BigInt(sequence)).toString(16), String(sequence));
  });

  it('counts each nonce that is taken, and has none after it is forgotten', () => {
    const key = new TrafficKey(SUITE, SERVER_SECRET, 7);
    const view = new DataView(new ArrayBuffer(12));
    key.takeNonce(view, 0);
    assert.equal(key.sequence, 8);
    const next = key.next();
    assert.equal(next.sequence, 0);
    assert.notDeepEqual(next.secret, SERVER_SECRET);
    assert.deepEqual(key.secret, Buffer.alloc(32), 'the secret before stays in memory');
    assert.throws(() => key.takeNonce(view, 0), /forgotten/);
    assert.throws(() => key.key, /forgotten/);
  });

  it('refuses secrets of another length, and numbers that are none', () => {
    assert.throws(() => new TrafficKey(SUITE, Buffer.alloc(48), 0), /expected a secret of 32 bytes/);
    for (const sequence of [-1, 1.5, 2 ** 53, Number.NaN])
      assert.throws(() => new TrafficKey(SUITE, SERVER_SECRET, sequence), /record number/);
  });
});
