import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import type { Settings } from '#moult/protocol/messages.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { RestartAttempt } from '#moult/supervisor/restart/restart-attempt.js';

const NOT_REACHED = new MoultError('MOULT_NOT_REACHED', 'its service has closed tcp://*:80');

/** One that has committed and was found, with what was found when it was looked at anew. */
function attempted(lookAnew: () => Promise<void>) {
  const exited = new Promise<never>(() => {});
  const one = (number: number) => ({ number, pid: -1, exited, lifeline: { isClosed: false }, lastLines: [] });
  const [predecessor, successor] = [one(1), one(2)] as unknown as [GenerationProcess, GenerationProcess];
  const undone: unknown[] = [];
  const attempt: RestartAttempt = new RestartAttempt(
    successor,
    predecessor,
    { readyTimeoutMs: 60_000 } as Settings,
    1000,
    () => {},
    (_by, _of, error) => {
      undone.push(error);
      attempt.fail(error, true);
    },
    async () => ({ looked: 1, lookMs: 1 }),
    lookAnew,
  );
  attempt.stage('ready', {});
  attempt.committed();
  return { attempt, undone };
}

describe('a restart', () => {
  it('has not succeeded before it was looked at anew, for connections may move for long', async () => {
    let found: () => void = () => {};
    const { attempt, undone } = attempted(() => new Promise((resolve) => (found = resolve)));
    attempt.stage('connections', {});
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    assert.equal(attempt.isSettled, false);
    found();
    assert.equal((await attempt.done).generation, 2);
    assert.deepEqual(undone, []);
  });

  it('is undone where its service has closed a listener since it was looked at first', async () => {
    const { attempt, undone } = attempted(() => Promise.reject(NOT_REACHED));
    attempt.stage('connections', {});
    await assert.rejects(attempt.done, { code: 'MOULT_NOT_REACHED' });
    assert.deepEqual(undone, [NOT_REACHED]);
  });
});
