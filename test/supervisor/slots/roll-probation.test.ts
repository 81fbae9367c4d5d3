import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MoultError } from '#moult/errors.js';
import { type Replaced, RollProbation } from '#moult/supervisor/slots/roll-probation.js';

interface Watched {
  readonly one: Replaced;
  readonly confirm: () => void;
  readonly fail: () => void;
}

/** A slot in its probation. */
function watched(index: number): Watched {
  let settle: (error?: MoultError) => void = () => {};
  const outcome = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error));
  });
  const slot = {
    index,
    isLeaving: false,
    generations: { current: { number: index } },
    probation: { confirmed: () => outcome },
  };
  const one = { slot, summary: { generation: index }, before: undefined } as unknown as Replaced;
  const fail = () => settle(new MoultError('MOULT_SUCCESSOR_LOST', 'it has ended'));
  return { one, confirm: () => settle(), fail };
}

function roll(count: number) {
  const undone: (number | undefined)[][] = [];
  const probation = new RollProbation((others) => undone.push(others.map(({ slot }) => slot.index)));
  const slots = Array.from({ length: count }, (_, index) => watched(index));
  for (const { one } of slots) probation.watch(one);
  return { probation, slots, undone };
}

describe('the probation of a roll', () => {
  it('undoes all others when one fails, also those that are confirmed, and those that come before that is done', async () => {
    const { probation, slots, undone } = roll(3);
    slots[0]?.confirm();
    await turn();
    slots[1]?.fail();
    await turn();
    assert.deepEqual(undone, [[0, 2]]);
    assert.equal(probation.isOver, false);
    probation.watch(watched(3).one);
    slots[2]?.fail();
    await turn();
    assert.deepEqual(undone, [[0, 2], [3]]);
  });

  it('is over when all are confirmed, with one that has come since', async () => {
    const { probation, slots, undone } = roll(2);
    const later = watched(2);
    slots[0]?.confirm();
    await turn();
    assert.equal(probation.isOver, false);
    probation.watch(later.one);
    slots[1]?.confirm();
    await turn();
    assert.equal(probation.isOver, false);
    later.confirm();
    await turn();
    assert.equal(probation.isOver, true);
    assert.deepEqual(undone, []);
  });
});
