import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Backoff } from '#moult/supervisor/restart/backoff.js';
import fc from '../../support/fast-check.js';

describe('the back-off', () => {
  it('starts at once after the first crash, then waits twice as long each time, up to its longest', () => {
    const backoff = new Backoff(100, 1000, 10_000);
    assert.deepEqual(
      Array.from({ length: 8 }, () => backoff.next(0)),
      [0, 100, 200, 400, 800, 1000, 1000, 1000],
    );
  });

  it('begins anew after a generation that served long enough, and after a reset', () => {
    const backoff = new Backoff(100, 1000, 10_000);
    for (let i = 0; i < 5; i += 1) backoff.next(9_999);
    assert.equal(backoff.next(9_999), 1000);
    assert.equal(backoff.next(10_000), 0);
    assert.equal(backoff.next(0), 100);
    backoff.reset();
    assert.equal(backoff.next(0), 0);
  });

  it('never waits less than before in a row of crashes, never longer than its longest, however many', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1000, max: 100_000 }),
        (first, longest) => {
          const backoff = new Backoff(first, longest, 10_000);
          let before = 0;
          for (let i = 0; i < 2000; i += 1) {
            const wait = backoff.next(0);
            assert.ok(Number.isFinite(wait) && wait >= before && wait <= longest);
            before = wait;
          }
          assert.equal(before, longest);
        },
      ),
      { numRuns: 20 },
    );
  });
});
