import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { modelRuns } from '../support/model-runs.js';
import { sequenceOf } from '../support/sequence.js';
import { type StepKind, World } from './world.js';

/** Sequences in `npm test`; `MOULT_SEQUENCES=5000 npm test -- broadcast/model` is the proof. */
const SEQUENCES = modelRuns('MOULT_SEQUENCES', 150);

const which = fc.nat(20);
/** What may happen, with where it happens. */
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('send' as const), which, other: which }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('deliver' as const), which, other: which }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('move' as const), which, other: which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('offer' as const), which, other: which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('set up' as const), which, other: which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('start' as const), which, other: which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('scale' as const), which, other: which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('introduce' as const), which, other: which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('end' as const), which, other: which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const), which, other: which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('turn' as const), which, other: which }) },
);

type Order = readonly [StepKind, number, number][];

async function play(order: Order): Promise<string[]> {
  const world = new World(true);
  for (const [kind, one, other] of order) await world.step(kind, one, other);
  await world.settle();
  return world.problems();
}

describe('broadcasts over any order of what may happen', () => {
  it('reach every client once, and those of one sender in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        sequenceOf(step, { minLength: 5, maxLength: 60 }),
        fc.boolean(),
        async (steps, hasSlots) => {
          const world = new World(hasSlots);
          for (const { kind, which: one, other } of steps) await world.step(kind, one, other);
          await world.settle();
          assert.deepEqual(world.problems(), []);
        },
      ),
      { ...SEQUENCES, interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true },
    );
  });

  // Seed 14: the one that sent has only a fresh successor left, and that one is the only way to the other slots.
  it('pass through one that has joined after they were sent', async () => {
    const order: Order = [
      ['start', 0, 0],
      ['start', 2, 0],
      ['send', 11, 0],
      ['start', 20, 0],
      ['introduce', 3, 5],
      ['deliver', 0, 0],
      ['send', 0, 0],
      ['send', 0, 0],
      ['move', 0, 0],
      ['kill', 0, 0],
    ];
    assert.deepEqual(await play(order), []);
  });

  // Seed 207: one that joins two has heard from the first that the second had sent nothing, and has a client from there.
  it('come to one that has joined the first of two, whenever the second answers', async () => {
    const order: Order = [
      ['start', 0, 0],
      ['start', 7, 0],
      ['scale', 1, 0],
      ['introduce', 0, 11],
      ['deliver', 17, 0],
      ['deliver', 0, 1],
      ['deliver', 0, 0],
      ['send', 13, 0],
      ['introduce', 0, 0],
      ['move', 0, 13],
      ['send', 0, 0],
      ['introduce', 0, 0],
      ['deliver', 1, 0],
    ];
    assert.deepEqual(await play(order), []);
  });

  // Seed 207 again: the first had not even heard of the sender.
  it('come to a client that came from the first of two, where the second is past a sender that the first did not know', async () => {
    const order: Order = [
      ['start', 0, 0],
      ['start', 7, 0],
      ['scale', 1, 0],
      ['introduce', 0, 11],
      ['deliver', 17, 0],
      ['deliver', 0, 1],
      ['deliver', 0, 0],
      ['send', 14, 0],
      ['introduce', 0, 0],
      ['move', 0, 13],
      ['send', 0, 0],
      ['introduce', 0, 0],
      ['deliver', 0, 0],
    ];
    assert.deepEqual(await play(order), []);
  });

  // Seed 8 with offers: one that had asked a second one met a first one meanwhile, and is connected from then on.
  it('come to all clients of one that asks another while it is joined itself', async () => {
    const order: Order = [
      ['scale', 0, 0],
      ['start', 9, 0],
      ['introduce', 0, 11],
      ['deliver', 0, 0],
      ['start', 0, 0],
      ['deliver', 7, 0],
      ['send', 10, 0],
      ['kill', 13, 0],
      ['start', 0, 0],
      ['end', 0, 0],
      ['set up', 0, 0],
      ['send', 0, 0],
      ['start', 0, 0],
    ];
    assert.deepEqual(await play(order), []);
  });
});
