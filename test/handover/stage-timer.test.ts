import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StageLimit } from '#moult/handover/predecessor/stage-timer.js';
import { awaitLook } from '#moult/handover/predecessor/stage-timer.js';

/** Waits for a look, with a clock that moves only when it is told to. @returns what has passed when it is confirmed, and how often the look was asked for. */
function confirmed(isOverseen: (passedMs: number) => boolean): [ms: number, asked: number] {
  let passedMs = 0;
  let asked = 0;
  let next: (() => void) | undefined;
  const limit = {
    set: (ms: number, strike: () => void) => {
      next = () => {
        passedMs += ms;
        strike();
      };
    },
  };
  const confirm = () => {
    next = undefined;
  };
  const stage = (name: string) => {
    asked += name === 'verify' ? 1 : 0;
  };
  awaitLook(limit as StageLimit, { isOverseen: () => isOverseen(passedMs), stage }, confirm);
  while (next !== undefined) next();
  return [passedMs, asked];
}

describe('a predecessor whose successor is looked at from outside', () => {
  it('confirms by itself where the supervisor is gone, and asks again while one is there', () => {
    assert.deepEqual(
      confirmed(() => false),
      [20_000, 1],
    );
    assert.deepEqual(
      confirmed((passedMs) => passedMs < 90_000),
      [100_000, 5],
    );
  });

  it('does not wait for ever for one that never says what it has found', () => {
    assert.deepEqual(
      confirmed(() => true),
      [600_000, 30],
    );
  });
});
