import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { OutputTail, passThrough } from '#moult/supervisor/output/output-tail.js';
import { turns } from '../../support/events.js';
import fc from '../../support/fast-check.js';

describe('the tail of an output', () => {
  it('is the same whatever the chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z ]{0,20}$/), { maxLength: 30 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (lines, places) => {
          const text = Buffer.from(lines.join('\n'));
          const whole = new OutputTail();
          whole.add(text);
          const cut = new OutputTail();
          let from = 0;
          for (const to of [...places.map((place) => place % (text.length + 1)), text.length].sort(
            (a, b) => a - b,
          )) {
            cut.add(text.subarray(from, to));
            from = to;
          }
          assert.deepEqual(cut.lines(), whole.lines());
        },
      ),
    );
  });

  it('is the last 40 lines, with the one that is not ended yet', () => {
    const tail = new OutputTail();
    for (let i = 1; i <= 100; i += 1) tail.add(Buffer.from(`line ${i}\n`));
    tail.add(Buffer.from('not ended'));
    assert.equal(tail.lines().length, 41);
    assert.equal(tail.lines()[0], 'line 61');
    assert.equal(tail.lines().at(-1), 'not ended');
  });

  it('holds no more than 2000 characters of a line, however long it is', () => {
    const tail = new OutputTail();
    for (let i = 0; i < 1000; i += 1) tail.add(Buffer.alloc(10_000, 'x'));
    assert.equal(tail.lines()[0]?.length, 2000);
    tail.add(Buffer.from('\nnext\n'));
    assert.deepEqual(tail.lines(), ['x'.repeat(2000), 'next']);
  });

  it('keeps characters whole that come in two chunks', () => {
    const tail = new OutputTail();
    for (const byte of Buffer.from('Grüße 漢字 😀\n')) tail.add(Buffer.from([byte]));
    assert.deepEqual(tail.lines(), ['Grüße 漢字 😀']);
  });
});

describe('an output that is passed through', () => {
  it('comes out byte for byte, and waits while nobody takes it', async () => {
    const from = new PassThrough();
    const taken: Buffer[] = [];
    let go: (() => void) | undefined;
    const to = new Writable({
      highWaterMark: 10,
      write(chunk: Buffer, _encoding, done) {
        taken.push(chunk);
        go = done;
      },
    });
    passThrough(from, to, new OutputTail());
    const parts = Array.from({ length: 5 }, (_, i) => Buffer.alloc(20, String(i)));
    for (const part of parts) from.write(part);
    await turns(5);
    assert.equal(taken.length, 1, 'it did not wait');
    for (let i = 0; i < 20 && taken.length < 5; i += 1) {
      go?.();
      await turns(2);
    }
    assert.ok(Buffer.concat(taken).equals(Buffer.concat(parts)));
  });

  it('does not hold up the service when where it goes is closed', async () => {
    const from = new PassThrough();
    const to = new Writable({ highWaterMark: 1, write() {} });
    const tail = new OutputTail();
    passThrough(from, to, tail);
    from.write('one\n');
    await turns(2);
    assert.equal(from.isPaused(), true);
    to.destroy();
    await turns(2);
    assert.equal(from.isPaused(), false);
    from.write('two\n');
    await turns(2);
    assert.deepEqual(tail.lines(), ['one', 'two']);
  });
});
