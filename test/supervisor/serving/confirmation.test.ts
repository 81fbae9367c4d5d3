import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { Confirmation, type ConfirmationParts } from '#moult/supervisor/serving/confirmation.js';

/** Whether a successor is confirmed whose time is over. */
async function isConfirmed(looked: number, answersStill: boolean): Promise<boolean> {
  const sent: string[] = [];
  const lifeline = { send: ({ type }: { type: string }) => sent.push(type) };
  const predecessor = { number: 1, lifeline } as unknown as GenerationProcess;
  const successor = { number: 2, predecessor, isEnding: false, serves: Promise.resolve() };
  const parts = {
    generations: { numbered: () => successor, undo: () => assert.fail('whoever has failed it undoes it') },
    look: { at: async () => ({ looked, lookMs: 1 }) },
    unseen: { assertNoneLeft: async () => {} },
    probation: { elapsed: () => {}, answersStill: async () => answersStill },
  } as unknown as ConfirmationParts;
  new Confirmation(parts, () => assert.fail('nobody has ended')).verify(predecessor, 2);
  await new Promise(setImmediate);
  return sent.includes('confirm');
}

describe('the end of a probation', () => {
  it('confirms one that listens on nothing only where it answers still', async () => {
    assert.equal(await isConfirmed(0, true), true);
    assert.equal(await isConfirmed(0, false), false);
  });

  it('asks no more of one that was found from outside', async () => {
    assert.equal(await isConfirmed(1, false), true);
  });
});
