import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { modelRuns } from '../support/model-runs.js';
import { type FeedStepKind, FeedWorld } from './feed-world.js';

/** Sequences in `npm test`; `MOULT_SEQUENCES=5000 npm test -- broadcast/feed-model` is the proof. */
const SEQUENCES = modelRuns('MOULT_SEQUENCES', 300);

const WEIGHTS: Record<FeedStepKind, number> = {
  publish: 8,
  read: 8,
  'mark arrives': 4,
  deliver: 8,
  start: 2,
  subscribe: 3,
  serve: 3,
  end: 1,
  kill: 1,
  repeat: 1,
};

function steps(kinds: readonly FeedStepKind[]) {
  const which = fc.nat(20);
  const step = fc.oneof(
    ...kinds.map((kind) => ({
      weight: WEIGHTS[kind],
      arbitrary: fc.record({ kind: fc.constant(kind), which, other: which }),
    })),
  );
  return fc.array(step, { minLength: 10, maxLength: 100 });
}

async function holdsFor(most: number, kinds: readonly FeedStepKind[]): Promise<void> {
  await fc.assert(
    fc.asyncProperty(steps(kinds), async (sequence) => {
      const world = new FeedWorld(most);
      for (const { kind, which, other } of sequence) await world.step(kind, which, other);
      await world.settle();
      assert.deepEqual(world.problems(), []);
    }),
    { ...SEQUENCES, interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true },
  );
}

describe('messages of a broker over any order of what may happen', () => {
  const all = Object.keys(WEIGHTS) as FeedStepKind[];

  it('reach every generation once and in order', async () => {
    await holdsFor(
      3,
      all.filter((kind) => kind !== 'kill'),
    );
  });

  it('reach every slot once, and the slots do not take it from each other', async () => {
    const kinds = ['publish', 'read', 'mark arrives', 'deliver'] as const;
    await fc.assert(
      fc.asyncProperty(steps(kinds), steps(kinds), async (before, after) => {
        const world = new FeedWorld(3);
        for (let slots = 1; slots < 3; slots += 1) world.addSlot();
        for (const { kind, which, other } of before) await world.step(kind, which, other);
        await world.settle();
        for (const { kind, which, other } of after) await world.step(kind, which, other);
        await world.settle();
        assert.deepEqual(world.problems(), []);
        assert.ok(world.marks < 20, `${world.marks} marks`);
      }),
      { ...SEQUENCES, interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true },
    );
  });

  it('reach none twice nor out of order when generations are killed', async () => {
    // Of three, one may not know yet of another whose mark it gets; then it cannot tell what one that dies has sent on.
    await holdsFor(2, all);
  });
});
