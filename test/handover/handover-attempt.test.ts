import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import { HandoverAttempt } from '#moult/handover/predecessor/handover-attempt.js';
import { StageLimit } from '#moult/handover/predecessor/stage-timer.js';
import type { HandoverState } from '#moult/lifecycle/handover-states.js';
import { ProcessHandle } from '#moult/os/unix-sockets/peer.js';
import type { Settings } from '#moult/protocol/messages.js';
import { StateEntries } from '#moult/state/state-entries.js';
import { Tasks } from '#moult/tasks/tasks.js';
import { End } from '../support/end.js';

const settings = { readyTimeoutMs: 3000, drainTimeoutMs: 2000, probationMs: 4000 } as Settings;
const context = {
  state: new StateEntries((pid) => new ProcessHandle(pid)),
  tasks: new Tasks(undefined, { failed: () => {}, idle: () => {} }),
  flows: { join: () => ({}) },
  listeners: {},
} as unknown as GenerationContext;

/** One attempt, and what it told of; no process has the number of its successor. */
function begin(now: { state: HandoverState }) {
  const told: string[] = [];
  const [near, far] = End.pair(2 ** 30, 2 ** 30 + 1);
  const expected = { generation: 2, settings, limit: new StageLimit() };
  const attempt = new HandoverAttempt(
    expected,
    near.channel,
    context,
    { offered: [], takesLate: false },
    {
      state: () => now.state,
      given: () => {},
      passedBy: () => told.push('passed by'),
      ready: () => told.push('ready'),
      failed: ({ code }) => told.push(code),
      confirmed: () => told.push('confirmed'),
      lost: () => told.push('lost'),
    },
  );
  const answer = async () => {
    far.send({ type: 'ready', claims: [], said: false } as { type: 'ready' });
    far.send({ type: 'abort', error: { code: 'MOULT_STATE_FAILED', message: 'x' } } as unknown as {
      type: 'abort';
    });
    far.send({ type: 'confirm' });
    while (near.deliver());
    near.close();
    await turn();
  };
  return { attempt, told, answer, far, near };
}

describe('an attempt to hand over', () => {
  it('tells what its successor says, and that the channel closed', async () => {
    const { attempt, told, answer } = begin({ state: 'inheriting' });
    await answer();
    assert.deepEqual(told, ['ready', 'MOULT_STATE_FAILED', 'confirmed', 'lost']);
    attempt.end();
  });

  it('tells nothing once it is over, so that a late answer does not count for the next attempt', async () => {
    const { attempt, told, answer } = begin({ state: 'inheriting' });
    attempt.end();
    await answer();
    assert.deepEqual(told, []);
  });

  it('goes on in the states that are asked for, and in none once it is over', () => {
    const now: { state: HandoverState } = { state: 'ready' };
    const { attempt } = begin(now);
    assert.equal(attempt.isStill('ready'), true);
    assert.equal(attempt.isStill('committing', 'probation'), false);
    now.state = 'committing';
    assert.equal(attempt.isStill('ready'), false);
    assert.equal(attempt.isStill('committing', 'probation'), true);
    attempt.end();
    assert.equal(attempt.isStill('committing', 'probation'), false);
  });

  it('is called off where the process was only a check, and the limit goes on for the one that comes', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] });
    const { attempt, told, far, near } = begin({ state: 'inheriting' });
    far.send({ type: 'missing', names: [], opened: [], passesBy: true } as { type: 'missing' });
    while (near.deliver());
    assert.deepEqual(told, ['passed by']);
    let strikes = 0;
    attempt.limit.set(1000, () => {
      strikes += 1;
    });
    attempt.callOff();
    assert.equal(attempt.isConnected, false);
    t.mock.timers.tick(5000);
    assert.equal(strikes, 1);
  });

  it('has no limit once it is over', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] });
    const { attempt } = begin({ state: 'ready' });
    let strikes = 0;
    attempt.limit.set(1000, () => {
      strikes += 1;
    });
    attempt.end();
    t.mock.timers.tick(5000);
    assert.equal(strikes, 0);
  });
});
