import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { movesToEven } from '#moult/supervisor/slots/rebalancer.js';
import fc from '../../support/fast-check.js';

/** What the slots have when these moves have been made. */
function after(counts: readonly number[]): number[] {
  const now = [...counts];
  for (const { from, to, count } of movesToEven(counts)) {
    now[from] = (now[from] ?? 0) - count;
    now[to] = (now[to] ?? 0) + count;
  }
  return now;
}

describe('connections of slots', () => {
  it('are left where they are when they lie even enough', () => {
    assert.deepEqual(movesToEven([25, 25, 25, 25]), []);
    assert.deepEqual(movesToEven([28, 22, 25, 25]), []);
    assert.deepEqual(movesToEven([1, 0]), []);
    assert.deepEqual(movesToEven([0, 0, 0]), []);
  });

  it('go from those that have more to those that have fewer', () => {
    assert.deepEqual(movesToEven([100, 0, 0, 0]), [
      { from: 0, to: 1, count: 25 },
      { from: 0, to: 2, count: 25 },
      { from: 0, to: 3, count: 25 },
    ]);
    assert.deepEqual(after([90, 7, 3, 0]), [25, 25, 25, 25]);
  });

  it('lie within a third of each other afterwards where there are many, and none is lost or made', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2000), { minLength: 2, maxLength: 64 }), (counts) => {
        const now = after(counts);
        const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
        assert.equal(sum(now), sum(counts));
        const mean = sum(counts) / counts.length;
        if (mean >= 25) assert.ok(Math.max(...now) / Math.min(...now) <= 1.3, `${now}`);
        assert.ok(Math.min(...now) >= 0);
      }),
    );
  });
});
