import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../../support/fast-check.js';
import { modelRuns } from '../../support/model-runs.js';
import { commonSteps, feedSequences } from './feed-steps.js';
import { FeedWorld } from './feed-world.js';

/** Sequences in `npm test`; `MOULT_SEQUENCES=5000 npm test -- feeds/feed-model` is the proof. */
const SEQUENCES = modelRuns('MOULT_SEQUENCES', 50);

const sequences = feedSequences(commonSteps);

describe('messages of a broker over any order of what may happen', () => {
  it('reach every client once and in order while generations come, go, come back and are killed', async () => {
    const counts = { moved: 0, waited: 0, missed: 0 };
    await fc.assert(
      fc.asyncProperty(sequences, async (sequence) => {
        const world = new FeedWorld(1);
        for (const { kind, which, other } of sequence) await world.step(kind, which, other);
        await world.finish();
        assert.deepEqual(world.problems(), []);
        assert.deepEqual(world.keeping, []);
        for (const [name, count] of Object.entries(world.counts))
          counts[name as keyof typeof counts] += count;
      }),
      { ...SEQUENCES, interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true },
    );
    // Each of these has happened: the model plays what it is for.
    for (const [name, count] of Object.entries(counts)) assert.ok(count > SEQUENCES.numRuns / 10, name);
  });
});
