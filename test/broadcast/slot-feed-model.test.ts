import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import fc from '../support/fast-check.js';
import { modelRuns } from '../support/model-runs.js';
import { SlotFeedWorld, type SlotStepKind } from './slot-feed-world.js';

/** Sequences in `npm test`; `MOULT_SEQUENCES=5000 npm test -- slot-feed-model` is the proof. */
const SEQUENCES = modelRuns('MOULT_SEQUENCES', 300);

const WEIGHTS: Record<SlotStepKind, number> = {
  publish: 8,
  read: 8,
  'mark arrives': 4,
  deliver: 8,
  roll: 2,
  commit: 3,
  meet: 2,
  undo: 1,
  retire: 2,
  'scale up': 1,
  'scale down': 1,
  kill: 1,
};

const SILENCE_MS = 1100;
/** Each slot may wait for one. */
const MOST_SILENCES = 4;

async function holds(kinds: readonly SlotStepKind[]): Promise<void> {
  const which = fc.nat(20);
  const step = fc.oneof(
    ...kinds.map((kind) => ({
      weight: WEIGHTS[kind],
      arbitrary: fc.record({ kind: fc.constant(kind), which, other: which }),
    })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 120 }), async (sequence) => {
      const world = new SlotFeedWorld(3);
      await world.settle();
      for (const { kind, which, other } of sequence) await world.step(kind, which, other);
      await world.finish();
      // Of one that was killed before it had named itself, the others find out by its silence. What was published until
      // then may be lost, as decision 60 says; what is published later may not.
      for (let i = 0; kinds.includes('kill') && i < MOST_SILENCES && world.problems().length > 0; i += 1) {
        await pause(SILENCE_MS);
        await world.finish();
      }
      assert.deepEqual(world.problems(), []);
      assert.ok(world.marks < 60, `${world.marks} marks`);
    }),
    {
      ...SEQUENCES,
      includeErrorInReport: true,
      interruptAfterTimeLimit: 600_000,
      markInterruptAsFailure: true,
    },
  );
}

describe('messages of a broker in slots over any order of what may happen', () => {
  const all = Object.keys(WEIGHTS) as SlotStepKind[];
  const without = (...some: SlotStepKind[]) => all.filter((kind) => !some.includes(kind));

  it('reach every slot once and in order, while slots are rolled and undone', async () => {
    await holds(without('kill', 'scale up', 'scale down'));
  });

  it('reach every slot once and in order, while slots come and go', async () => {
    await holds(without('kill'));
  });

  it('reach none twice nor out of order when generations are killed', async () => {
    await holds(all);
  });
});
