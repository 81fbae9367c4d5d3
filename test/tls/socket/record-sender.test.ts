import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import type { StreamHandle } from '#moult/node/handle.js';
import { fixedBytes } from '#moult/os/libcrypto.js';
import { CIPHER_SUITES } from '#moult/tls/keys/cipher-suites.js';
import { TrafficKey } from '#moult/tls/keys/traffic-key.js';
import { fastestProtection } from '#moult/tls/records/fastest-protection.js';
import { RecordReader } from '#moult/tls/records/record-reader.js';
import { RecordWriter } from '#moult/tls/records/record-writer.js';
import { type Done, RecordSender } from '#moult/tls/socket/record-sender.js';

const SUITE = CIPHER_SUITES.TLS_AES_128_GCM_SHA256;

describe('what is sent on a moved connection', () => {
  it('goes behind an answer that the kernel has not taken', () => {
    const { sender, waiting, reader } = fullKernel();
    sender.answerKeyUpdate();
    const data = [{ chunk: 'after it', encoding: 'utf8' as const }];
    const results: unknown[] = [];
    sender.send(data, (error) => results.push(error ?? 'sent'));
    assert.deepEqual([waiting.length, results, sender.isAtRest], [2, [], false]);
    for (const { done } of waiting) done();
    assert.deepEqual([results, sender.plainBytes, sender.isAtRest], [['sent'], 8, true]);
    const all = Buffer.concat(waiting.map(({ records }) => records));
    const memory = fixedBytes(all.length);
    all.copy(memory.bytes);
    const { plaintext, failure } = reader.take(memory, all.length);
    assert.deepEqual([String(plaintext), failure], ['after it', undefined]);
  });

  it('is not sent when the kernel says that there is nobody', () => {
    const { sender, waiting } = fullKernel();
    const results: NodeJS.ErrnoException[] = [];
    sender.send([{ chunk: 'x', encoding: 'utf8' }], (error) => results.push(error as Error));
    assert.deepEqual([results.map(({ code }) => code), waiting, sender.plainBytes], [['EBADF'], [], 0]);
  });

  it('has one end, and no alert and no answer behind it', () => {
    const { sender, waiting } = fullKernel();
    sender.sayClose();
    sender.sayClose();
    sender.sayAlert(20);
    sender.answerKeyUpdate();
    assert.deepEqual([waiting.length, sender.isAtRest], [1, false]);
    sender.close();
    assert.throws(() => sender.writer.alert(1, 0), /forgotten/);
  });
});

/** A sender whose records nobody takes, on a descriptor that is none. */
function fullKernel() {
  const secret = randomBytes(SUITE.hashBytes);
  const protection = fastestProtection();
  const waiting: { readonly records: Buffer; readonly done: Done }[] = [];
  const sender = new RecordSender(new RecordWriter(protection, new TrafficKey(SUITE, secret, 0), 16_384), {
    handle: { fd: -1, writeQueueSize: 0 } as StreamHandle,
    write: (records, done) => waiting.push({ records, done }),
    refreshTimeout: () => {},
  });
  return { sender, waiting, reader: new RecordReader(protection, new TrafficKey(SUITE, secret, 0)) };
}
