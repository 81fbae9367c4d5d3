import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../../support/fast-check.js';
import { modelRuns } from '../../support/model-runs.js';
import { sequenceOf } from '../../support/sequence.js';
import { type FeedStepKind, FeedWorld } from './feed-world.js';

/** Sequences in `npm test`; `MOULT_SEQUENCES=5000 npm test -- slot-feed-model` is the proof. */
const SEQUENCES = modelRuns('MOULT_SEQUENCES', 100);

const WEIGHTS: Partial<Record<FeedStepKind, number>> = {
  publish: 8,
  read: 8,
  'mark arrives': 4,
  'foreign mark': 1,
  deliver: 8,
  'catch up': 5,
  connect: 2,
  move: 12,
  'set up': 3,
  roll: 2,
  subscribe: 3,
  commit: 3,
  meet: 2,
  undo: 1,
  retire: 2,
  'scale up': 1,
  'scale down': 1,
  kill: 1,
  'kill on the way': 1,
  repeat: 1,
};

async function holds(kinds: readonly FeedStepKind[], problemsOf = problems): Promise<void> {
  const which = fc.nat(20);
  const step = fc.oneof(
    ...kinds.map((kind) => ({
      weight: WEIGHTS[kind] ?? 1,
      arbitrary: fc.record({ kind: fc.constant(kind), which, other: which }),
    })),
  );
  await fc.assert(
    fc.asyncProperty(sequenceOf(step, { minLength: 10, maxLength: 120 }), async (sequence) => {
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
  const all = Object.keys(WEIGHTS) as FeedStepKind[];
  const without = (...some: FeedStepKind[]) => all.filter((kind) => !some.includes(kind));

  it('reach every client once and in order, while slots are rolled and undone', async () => {
    await holds(without('kill', 'kill on the way', 'scale up', 'scale down'));
  });

  it('reach every client once and in order, while slots come and go, and are killed', async () => {
    await holds(all);
  });

  it('reach every client at most once and in order, while subscriptions are lost and come back', async () => {
    await holds([...all, 'lose'], (world) => world.doubled);
  });
});
