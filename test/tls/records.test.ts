import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { fixedBytes, libcrypto } from '#moult/os/libcrypto.js';
import { CIPHER_SUITES, type CipherSuite } from '#moult/tls/keys/cipher-suites.js';
import { TrafficKey } from '#moult/tls/keys/traffic-key.js';
import { HAS_OLD_RECORD_LAYER } from '#moult/tls/records/alerts.js';
import { EvpProtection } from '#moult/tls/records/evp-protection.js';
import { NodeProtection } from '#moult/tls/records/node-protection.js';
import { keyUpdateMessage } from '#moult/tls/records/post-handshake.js';
import { ALERT, APPLICATION_DATA, HANDSHAKE, HEADER_BYTES } from '#moult/tls/records/record.js';
import type { RecordProtection } from '#moult/tls/records/record-protection.js';
import { RecordReader } from '#moult/tls/records/record-reader.js';
import { bytesOf, type Chunk, Plaintext, RecordWriter } from '#moult/tls/records/record-writer.js';
import { SLAB_BYTES } from '#moult/tls/records/slabs.js';
import { hex } from './hex.js';
import { rawRecord } from './raw-record.js';

const calls = libcrypto();
assert.ok(calls, 'this Node exports no libcrypto');
const WAYS: readonly RecordProtection[] = [new EvpProtection(calls), new NodeProtection()];
const NOTHING = Buffer.alloc(0);
const SUITES = Object.values(CIPHER_SUITES);

// Source: RFC 8448, 3: the first data of the client, and its close_notify.
const CLIENT_SECRET = hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5');
const CLIENT_RECORDS =
  hex(`17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66
  bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb
  21 69 49 15 e4 17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3`);
const CLIENT_DATA = Buffer.from(Array.from({ length: 50 }, (_, index) => index));

for (const way of WAYS) {
  describe(`records by ${way.name}`, () => {
    it('are those of RFC 8448', () => {
      const suite = CIPHER_SUITES.TLS_AES_128_GCM_SHA256;
      const writer = new RecordWriter(way, new TrafficKey(suite, CLIENT_SECRET, 0), 16_384);
      const data = [{ chunk: CLIENT_DATA, encoding: 'utf8' as const }];
      assert.deepEqual(Buffer.concat([one(writer, data, 50), writer.alert(1, 0)]), CLIENT_RECORDS);
      const received = feed(readerOf(way, suite, CLIENT_SECRET), CLIENT_RECORDS);
      assert.deepEqual(received.plaintext, CLIENT_DATA);
      assert.equal(received.hasClosed, true);
      assert.equal(received.failure, undefined);
    });

    for (const suite of SUITES) {
      it(`are opened by each way, with ${suite.name}`, () => {
        const secret = randomBytes(suite.hashBytes);
        const data = randomBytes(100_000);
        for (const maxSend of [512, 1000, 16_384]) {
          const writer = new RecordWriter(way, new TrafficKey(suite, secret, 5), maxSend);
          const records = Buffer.concat(written(writer, data));
          for (const other of WAYS) {
            const reader = new RecordReader(other, new TrafficKey(suite, secret, 5));
            assert.deepEqual(feed(reader, records).plaintext, data);
            assert.equal(reader.key.sequence, writer.key.sequence);
            assert.ok(reader.isAtRest && reader.left().length === 0);
          }
        }
      });

      it(`of two connections by turns have the key of each, with ${suite.name}`, () => {
        const secrets = [randomBytes(suite.hashBytes), randomBytes(suite.hashBytes)];
        const writers = secrets.map(
          (secret) => new RecordWriter(way, new TrafficKey(suite, secret, 0), 16_384),
        );
        const readers = secrets.map((secret) => readerOf(way, suite, secret));
        for (const index of [0, 1, 0, 0, 1, 1, 0]) {
          const [record = Buffer.alloc(0)] = written(
            writers[index] as RecordWriter,
            Buffer.from(`to ${index}`),
          );
          assert.equal(String(feed(readers[index] as RecordReader, record).plaintext), `to ${index}`);
        }
      });
    }

    it('come in any pieces, with padding, empty ones and key updates', () => {
      for (const suite of SUITES) {
        const plain = [Buffer.from('one'), randomBytes(16_384), Buffer.from('three')];
        let key = new TrafficKey(suite, randomBytes(suite.hashBytes), 0);
        const first = Buffer.from(key.secret);
        const sent = [
          rawRecord(key, APPLICATION_DATA, plain[0], 300),
          rawRecord(key, APPLICATION_DATA, Buffer.alloc(0), 12),
          rawRecord(key, APPLICATION_DATA, plain[1], 0),
          rawRecord(key, HANDSHAKE, hex('18 00'), 3),
          rawRecord(key, HANDSHAKE, hex('00 01 01'), 0),
        ];
        key = key.next();
        sent.push(rawRecord(key, ALERT, Buffer.from([1, 90]), 0));
        sent.push(rawRecord(key, APPLICATION_DATA, plain[2], 1));
        const all = Buffer.concat(sent);
        for (const size of [1, 4, 5, 6, 7, 51, 1400, 16_405, all.length]) {
          const reader = readerOf(way, suite, first);
          const read: Buffer[] = [];
          let wanted = 0;
          for (let at = 0; at < all.length; at += size) {
            const { plaintext, wantsKeyUpdate, failure } = feed(reader, all.subarray(at, at + size));
            assert.equal(failure, undefined);
            if (plaintext) read.push(plaintext);
            if (wantsKeyUpdate) wanted += 1;
          }
          assert.deepEqual(Buffer.concat(read), Buffer.concat(plain), `in pieces of ${size}`);
          assert.equal(wanted, 1);
        }
      }
    });

    it('of a large read are one piece, of which nothing else is left, and no more memory than for a small one', () => {
      const suite = CIPHER_SUITES.TLS_AES_256_GCM_SHA384;
      const secret = randomBytes(suite.hashBytes);
      const sealed = (...records: [type: number, content: Buffer, padding: number][]) => {
        let key = new TrafficKey(suite, secret, 0);
        const bytes = records.map(([type, content, padding]) => {
          const record = rawRecord(key, type, content, padding);
          if (type === HANDSHAKE) key = key.next();
          return record;
        });
        return Buffer.concat(bytes);
      };
      const [one, two, three] = [16_384, 1, 9000].map((length) => randomBytes(length)) as [
        Buffer,
        Buffer,
        Buffer,
      ];
      const all = sealed(
        [APPLICATION_DATA, one, 0],
        [HANDSHAKE, keyUpdateMessage(true), 200],
        [APPLICATION_DATA, two, 16_000],
        [APPLICATION_DATA, NOTHING, 300],
        [APPLICATION_DATA, three, 7],
        [ALERT, Buffer.from([1, 90]), 0],
      );
      for (const cut of [0, 4, 5, 4000, 16_406, 17_000, 33_000, all.length - 1]) {
        const reader = readerOf(way, suite, secret);
        const pieces = [all.subarray(0, cut), all.subarray(cut)].map((part) => feed(reader, part));
        const content = pieces.map(({ plaintext }) => plaintext ?? NOTHING);
        assert.deepEqual(Buffer.concat(content), Buffer.concat([one, two, three]), `cut at ${cut}`);
        if (cut > 0) continue;
        const { buffer, byteOffset, length } = content[1] as Buffer<ArrayBuffer>;
        const behind = Buffer.from(buffer).subarray(byteOffset + length, byteOffset + length + 5000);
        assert.deepEqual(behind, Buffer.alloc(5000), 'padding and messages are left');
      }
      const padded = sealed(
        ...Array.from({ length: 6 }, () => [APPLICATION_DATA, two, 16_000] as [number, Buffer, number]),
      );
      const { plaintext } = feed(readerOf(way, suite, secret), padded);
      assert.deepEqual(plaintext, Buffer.concat(Array(6).fill(two)));
      assert.ok(
        (plaintext?.buffer.byteLength ?? 0) < padded.length,
        'what is kept is larger than its content',
      );
    });

    it('go on elsewhere at each cut', () => {
      const suite = CIPHER_SUITES.TLS_CHACHA20_POLY1305_SHA256;
      const secret = randomBytes(32);
      const record = rawRecord(new TrafficKey(suite, secret, 0), APPLICATION_DATA, Buffer.from('whole'), 8);
      for (let cut = 0; cut < record.length; cut += 1) {
        const before = readerOf(way, suite, secret);
        assert.equal(feed(before, record.subarray(0, cut)).plaintext, undefined);
        const left = before.left();
        assert.equal(left.length, cut);
        const after = readerOf(way, suite, before.key.secret);
        feed(after, left);
        assert.equal(String(feed(after, record.subarray(cut)).plaintext), 'whole');
      }
    });

    it('that were changed are refused, whichever byte it was, and nothing after them is taken', () => {
      const suite = CIPHER_SUITES.TLS_AES_256_GCM_SHA384;
      const secret = randomBytes(48);
      const key = new TrafficKey(suite, secret, 0);
      const good = rawRecord(key, APPLICATION_DATA, Buffer.from('good'), 0);
      const bad = rawRecord(key, APPLICATION_DATA, Buffer.from('bad'), 5);
      const after = rawRecord(key, APPLICATION_DATA, Buffer.from('after'), 0);
      for (let at = 0; at < bad.length; at += 1) {
        const changed = Buffer.from(bad);
        changed[at] = (changed[at] ?? 0) ^ 1;
        const reader = readerOf(way, suite, secret);
        const { plaintext, failure } = feed(
          reader,
          Buffer.concat([good, changed, after, Buffer.alloc(20_000)]),
        );
        assert.equal(String(plaintext), 'good');
        // The header is bound by the tag, too: a length that is wrong takes other bytes for the tag.
        const alert = [10, HAS_OLD_RECORD_LAYER ? 70 : 50, 50][at] ?? 20;
        if (at !== 3 && at !== 4) assert.equal(failure?.alert, alert, `byte ${at}`);
        assert.ok(failure, `byte ${at}`);
        assert.equal(feed(reader, after).plaintext, undefined);
      }
    });

    it('of a number of records take the next key by a KeyUpdate', () => {
      for (const suite of SUITES) {
        const secret = randomBytes(suite.hashBytes);
        const writer = new RecordWriter(way, new TrafficKey(suite, secret, 3), 512, 6);
        const data = randomBytes(512 * 20);
        const records = Buffer.concat([...written(writer, data), ...written(writer, Buffer.from('last'))]);
        const reader = new RecordReader(way, new TrafficKey(suite, secret, 3));
        const { plaintext, failure, wantsKeyUpdate } = feed(reader, records);
        assert.equal(failure, undefined);
        assert.deepEqual(plaintext, Buffer.concat([data, Buffer.from('last')]));
        assert.equal(wantsKeyUpdate, false);
        assert.deepEqual(reader.key.secret, writer.key.secret);
        assert.notDeepEqual(reader.key.secret, secret);
        assert.ok(writer.key.sequence < 6);
      }
    });

    it('of alerts that say nothing are counted until content comes', () => {
      const suite = CIPHER_SUITES.TLS_AES_128_GCM_SHA256;
      const canceled = [ALERT, Buffer.from([1, 90])] as const;
      const four = [canceled, canceled, canceled, canceled];
      const empty = [APPLICATION_DATA, undefined] as const;
      const between = (...records: (readonly [number, Buffer | undefined])[]) => {
        const secret = randomBytes(suite.hashBytes);
        const reader = readerOf(way, suite, secret);
        const key = new TrafficKey(suite, secret, 0);
        const all = [...four, ...records, canceled].map(([type, content]) =>
          rawRecord(key, type, content, 1),
        );
        return feed(reader, Buffer.concat(all)).failure?.code;
      };
      assert.equal(between(), 'ERR_SSL_TOO_MANY_WARN_ALERTS');
      assert.equal(between(empty), 'ERR_SSL_TOO_MANY_WARN_ALERTS');
      assert.equal(between([APPLICATION_DATA, Buffer.from('x')]), undefined);
    });

    it('have texts in each encoding', () => {
      const suite = CIPHER_SUITES.TLS_AES_128_GCM_SHA256;
      const secret = randomBytes(32);
      const chunks = [
        { chunk: 'grüße €', encoding: 'utf8' as const },
        { chunk: 'grüße', encoding: 'latin1' as const },
        { chunk: 'AQID', encoding: 'base64' as const },
        { chunk: '', encoding: 'utf8' as const },
        { chunk: Buffer.from([0, 255]), encoding: 'utf8' as const },
        { chunk: 'grüße', encoding: 'utf16le' as const },
      ];
      const wanted = Buffer.concat(
        chunks.map(({ chunk, encoding }) => Buffer.from(chunk as string, encoding)),
      );
      assert.equal(bytesOf(chunks), wanted.length);
      const writer = new RecordWriter(way, new TrafficKey(suite, secret, 0), 16_384);
      const reader = readerOf(way, suite, secret);
      assert.deepEqual(feed(reader, one(writer, chunks, wanted.length)).plaintext, wanted);
      const memory = fixedBytes(SLAB_BYTES);
      const end = writer.many(new Plaintext(chunks), memory);
      assert.deepEqual(feed(reader, memory.bytes.subarray(0, end)).plaintext, wanted);
    });
  });
}

describe('the memory of keys', () => {
  it('has nothing of one that was forgotten', () => {
    for (const way of WAYS) {
      const key = new TrafficKey(CIPHER_SUITES.TLS_AES_128_GCM_SHA256, CLIENT_SECRET, 0);
      const derived = key.key;
      const writer = new RecordWriter(way, key, 16_384);
      writer.alert(1, 0);
      writer.forget();
      assert.deepEqual(key.secret, Buffer.alloc(32));
      assert.deepEqual(derived, Buffer.alloc(16));
      assert.throws(() => writer.alert(1, 0), /forgotten/);
    }
  });

  it('is never left by what libcrypto is given', () => {
    const way = WAYS[0] as RecordProtection;
    const key = new TrafficKey(CIPHER_SUITES.TLS_AES_128_GCM_SHA256, CLIENT_SECRET, 0);
    const memory = fixedBytes(64);
    memory.bytes[0] = APPLICATION_DATA;
    assert.throws(() => way.seal(key, APPLICATION_DATA, memory, 0, 64), RangeError);
    assert.throws(() => way.seal(key, APPLICATION_DATA, memory, -1, 4), RangeError);
    assert.throws(() => way.open(key, memory, 0, 64, memory, 5), RangeError);
    assert.throws(() => way.open(key, memory, 0, 40, memory, 41), RangeError);
    assert.throws(() => way.open(key, memory, 0, 40, memory, -1), RangeError);
    assert.throws(() => way.open(key, memory, 0, 40, fixedBytes(23), 0), RangeError);
    assert.equal(key.sequence, 0, 'a number was used for nothing');
    assert.ok(HEADER_BYTES < 64);
  });
});

function one(writer: RecordWriter, chunks: readonly Chunk[], length: number): Buffer {
  const { memory, end } = writer.one(chunks, length);
  return Buffer.from(memory.bytes.subarray(0, end));
}

function readerOf(way: RecordProtection, suite: CipherSuite, secret: Buffer): RecordReader {
  return new RecordReader(way, new TrafficKey(suite, secret, 0));
}

function feed(reader: RecordReader, bytes: Buffer) {
  const memory = fixedBytes(Math.max(1, bytes.length));
  bytes.copy(memory.bytes);
  return reader.take(memory, bytes.length);
}

/** Data as the socket writes it: in one record, or in slices. */
function written(writer: RecordWriter, data: Buffer): Buffer[] {
  const chunks = [{ chunk: data, encoding: 'utf8' as const }];
  if (data.length <= writer.maxSend) return [one(writer, chunks, data.length)];
  const plaintext = new Plaintext(chunks);
  const slices: Buffer[] = [];
  while (!plaintext.isOver) {
    const memory = fixedBytes(SLAB_BYTES);
    slices.push(memory.bytes.subarray(0, writer.many(plaintext, memory)));
  }
  return slices;
}
