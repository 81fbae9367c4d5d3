import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MessageLog } from '#moult/broadcast/message-log.js';

describe('the log of broadcasts', () => {
  it('has the number of each message, however many before it are forgotten, and in whatever steps', () => {
    const log = new MessageLog();
    const add = (seq: number) =>
      log.add({ origin: 'one', seq, topic: 'news', payload: Buffer.alloc(seq % 3), fed: undefined });
    let added = 0;
    for (const upTo of [0, 3, 4, 30, 31, 90, 95, 100, 100, 400]) {
      for (let i = 0; i < 50; i += 1) add(added++);
      const from = log.start;
      const gone = log.forgetBefore(upTo).map(({ seq }) => seq);
      const start = Math.max(from, Math.min(upTo, added));
      assert.deepEqual(gone, numbers(from, start));
      assert.equal(log.start, start);
      assert.equal(log.end, added);
      assert.equal(log.at(start - 1), undefined);
      assert.equal(log.at(added), undefined);
      const kept = log.all();
      assert.deepEqual(
        kept.map(({ seq }) => seq),
        numbers(start, added),
      );
      for (const { seq } of kept) assert.equal(log.at(seq)?.seq, seq);
      assert.equal(
        log.bytes,
        kept.reduce((sum, { payload }) => sum + payload.length, 0),
      );
      assert.equal(log.bytesFrom(0), log.bytes);
      assert.equal(log.bytesFrom(added - 1), (added - 1) % 3);
    }
  });
});

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
