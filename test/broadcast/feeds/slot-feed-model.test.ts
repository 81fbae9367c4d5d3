import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../../support/fast-check.js';
import { modelRuns } from '../../support/model-runs.js';
import { commonSteps, feedSequences, type StepWeights } from './feed-steps.js';
import { FeedWorld } from './feed-world.js';

/** Sequences in `npm test`; `MOULT_SEQUENCES=5000 npm test -- slot-feed-model` is the proof. */
const SEQUENCES = modelRuns('MOULT_SEQUENCES', 50);

const all: StepWeights = {
  ...commonSteps,
  roll: 2,
  meet: 2,
  'scale up': 1,
  'scale down': 1,
  'kill on the way': 1,
};

async function holds(weights: StepWeights, problemsOf = problems): Promise<void> {
  await fc.assert(
    fc.asyncProperty(feedSequences(weights), async (sequence) => {
      const world = new FeedWorld(3, 4);
      if (sequence.length % 2 === 0) await world.settle();
      for (const { kind, which, other } of sequence) await world.step(kind, which, other);
      await world.finish();
      assert.deepEqual(problemsOf(world), []);
      assert.ok(world.marks < 150, `${world.marks} marks`);
    }),
    {
      ...SEQUENCES,
      includeErrorInReport: true,
      interruptAfterTimeLimit: 600_000,
      markInterruptAsFailure: true,
    },
  );
}

function problems(world: FeedWorld): string[] {
  return world.problems();
}

describe('messages of a broker in slots over any order of what may happen', () => {
  it('reach every client once and in order, while slots are rolled and undone', async () => {
    const { kill, 'kill on the way': _, 'scale up': up, 'scale down': down, ...others } = all;
    await holds(others);
  });

  it('reach every client once and in order, while slots come and go, and are killed', async () => {
    await holds(all);
  });

  it('reach every client at most once and in order, while subscriptions are lost and come back', async () => {
    await holds({ ...all, lose: 1 }, (world) => world.doubled);
  });
});
