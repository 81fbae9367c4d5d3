import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sampler } from '#moult/dashboard/samples.js';
import { classed } from '#moult/protocol/durations.js';
import type { Measures } from '#moult/protocol/messages.js';

function measured(durationsMs: readonly number[], errors = 0): Measures {
  const { counts, sumMs } = classed(durationsMs);
  const delays = { delayP50Ms: 1, delayP99Ms: 7, delayMaxMs: 9 };
  return { requests: durationsMs.length, errors, durations: [...counts], durationSumMs: sumMs, ...delays };
}

describe('the figures of the charts', () => {
  it('are those since the look before, of each generation by itself', () => {
    const sampler = new Sampler();
    const of = (generation: number, measures?: Measures) => ({
      generation,
      pid: 1,
      state: 'serving',
      connections: 3,
      ...(measures && { measures }),
    });
    const first = sampler.take([of(1, measured([4, 4]))], 1000);
    assert.deepEqual(first, [{ at: 1000, generation: 1, state: 'serving', connections: 3, loopDelayMs: 7 }]);
    const [one, two] = sampler.take(
      [of(1, measured([4, 4, 20, 20, 20, 200], 1)), of(2, measured([1]))],
      3000,
    );
    assert.equal(one?.requests, 2);
    assert.equal(one?.errors, 0.5);
    assert.equal(one?.meanMs, 65);
    assert.equal(one?.p99Ms, 250);
    assert.equal(two?.requests, undefined, 'nothing is known of the time before');
    const [quiet] = sampler.take([of(1, measured([4, 4, 20, 20, 20, 200], 1))], 4000);
    assert.equal(quiet?.requests, 0);
    assert.equal(quiet?.p99Ms, undefined);
    assert.deepEqual(sampler.take([of(3)], 5000), [
      { at: 5000, generation: 3, state: 'serving', connections: 3 },
    ]);
  });
});
