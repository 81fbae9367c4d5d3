import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StageLimit } from '#moult/handover/predecessor/stage-timer.js';
import { awaitLook } from '#moult/handover/predecessor/stage-timer.js';

/** Waits for a look, with a clock that moves only when it is told to. @returns what has passed when it is confirmed. */
function confirmedAfterMs(isOverseen: (passedMs: number) => boolean): number {
  let passedMs = 0;
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
  awaitLook(limit as StageLimit, { isOverseen: () => isOverseen(passedMs) }, confirm);
  while (next !== undefined) next();
  return passedMs;
}

describe('a predecessor whose successor is looked at from outside', () => {
  it('confirms by itself where the supervisor is gone, and not while one is there', () => {
    assert.equal(
      confirmedAfterMs(() => false),
      20_000,
    );
    assert.equal(
      confirmedAfterMs((passedMs) => passedMs < 90_000),
      100_000,
    );
  });

  it('does not wait for ever for one that never says what it has found', () => {
    assert.equal(
      confirmedAfterMs(() => true),
      600_000,
    );
  });
});
