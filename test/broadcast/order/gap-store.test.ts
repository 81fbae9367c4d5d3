import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import type { BroadcastMessage, Positions } from '#moult/broadcast/message.js';
import { GapStore } from '#moult/broadcast/order/gap-store.js';

const message = (seq: number, bytes = 1): BroadcastMessage => ({
  origin: 'a',
  seq,
  topic: 'news',
  payload: Buffer.alloc(bytes),
  fed: undefined,
});

/** A store, and the numbers of what was dealt with; undefined stands for what it says has not come. */
function store() {
  const dealt: (number | undefined)[] = [];
  const positions: Positions = new Map();
  const deal = (messages: Iterable<BroadcastMessage>) => {
    for (const { seq } of messages) {
      dealt.push(seq);
      positions.set('a', seq);
    }
  };
  const gaps = new GapStore(positions, {
    late: () => deal(gaps.giveUp()),
    missed: (count) => dealt.push(...Array.from({ length: count }, () => undefined)),
  });
  return { dealt, take: (one: BroadcastMessage, isOnly = false) => deal(gaps.take(one, isOnly)) };
}

describe('messages of which some are missing', () => {
  it('wait for those, as another one may bring them, and come in order', () => {
    const { dealt, take } = store();
    for (const seq of [2, 4, 1, 3, 2]) take(message(seq));
    assert.deepEqual(dealt, [1, 2, 3, 4]);
  });

  it('come at once where nobody else could bring them', () => {
    const { dealt, take } = store();
    take(message(3), true);
    assert.deepEqual(dealt, [3, undefined, undefined]);
  });

  it('come where those have not in 2 s', () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const { dealt, take } = store();
      take(message(3));
      mock.timers.tick(1900);
      assert.deepEqual(dealt, []);
      mock.timers.tick(200);
      assert.deepEqual(dealt, [3, undefined, undefined]);
    } finally {
      mock.timers.reset();
    }
  });

  it('come where there is no more room for them', () => {
    const { dealt, take } = store();
    for (let i = 0; i <= 16; i += 1) take(message(2 + i, 4 * 1024 * 1024));
    assert.equal(dealt[0], 2);
    assert.equal(dealt.at(-1), undefined);
  });
});
