import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import type { Settings } from '#moult/protocol/messages.js';
import type { GenerationProcess } from '#moult/supervisor/process/generation-process.js';
import { RestartAttempt } from '#moult/supervisor/restart/restart-attempt.js';

const EXIT = { code: 1, signal: null };

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

  it('fails once both have ended, where the predecessor was to give up a successor that had exited', async () => {
    const ends = [deferred(), deferred()] as const;
    const told: number[] = [];
    const predecessor = one(1, ends[0].promise, { expectNoMore: (n: number) => told.push(n) });
    const attempt = attemptOf(predecessor, one(2, ends[1].promise));
    ends[1].resolve(EXIT);
    await turns();
    assert.deepEqual([told, attempt.isSettled], [[2], false]);
    ends[0].resolve(EXIT);
    await assert.rejects(attempt.done, { code: 'MOULT_SUCCESSOR_EXITED' });
  });

  it('fails for a predecessor that does not answer when the successor has exited for that', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const predecessor = one(1, new Promise(() => {}), { expectNoMore: () => {}, servicePid: 41 });
    const end = deferred();
    const successor = one(2, end.promise, { lastLines: ['    at openDoor'] });
    const attempt = attemptOf(predecessor, successor);
    Object.assign(successor, { exit: EXIT });
    end.resolve(EXIT);
    await turns();
    assert.equal(attempt.isSettled, false);
    t.mock.timers.tick(120_000);
    await assert.rejects(attempt.done, ({ code, serving, message, details }: MoultError) => {
      assert.deepEqual([code, serving, details?.output], ['MOULT_PEER_TIMEOUT', 'predecessor', []]);
      assert.match(message, /^generation 1 \(process 41\) .* has not answered.*restart --force/);
      return true;
    });
  });

  for (const [where, isThere] of [
    ['there was no predecessor', false],
    ['its predecessor has ended', true],
  ] as const) {
    it(`fails at once where ${where}, and the successor exits while it is looked at`, async () => {
      const end = deferred();
      const predecessor = isThere ? one(1, Promise.resolve(EXIT), { exit: EXIT }) : undefined;
      const attempt = attemptOf(predecessor, one(2, end.promise), () => new Promise(() => {}));
      attempt.committed();
      await turns();
      assert.equal(attempt.isSettled, false);
      end.resolve(EXIT);
      await assert.rejects(attempt.done, { code: 'MOULT_SUCCESSOR_LOST', serving: 'none' });
    });
  }
});

function deferred() {
  let resolve!: (exit: typeof EXIT) => void;
  const promise = new Promise<typeof EXIT>((done) => (resolve = done));
  return { promise, resolve };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

function one(number: number, exited: Promise<typeof EXIT>, more: object = {}): GenerationProcess {
  const lifeline = { isClosed: false };
  const fixed = { number, pid: -1, exited, lifeline, lastLines: [], isReachable: true, giveUp: () => {} };
  return { ...fixed, expectNoMore: () => {}, ...more } as unknown as GenerationProcess;
}

function attemptOf(
  predecessor: GenerationProcess | undefined,
  successor: GenerationProcess,
  look: () => Promise<never> = () => Promise.reject(NOT_REACHED),
): RestartAttempt {
  const settings = { readyTimeoutMs: 60_000 } as Settings;
  return new RestartAttempt(
    successor,
    predecessor,
    settings,
    1000,
    () => {},
    () => {},
    look,
  );
}
