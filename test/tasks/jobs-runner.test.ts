import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Job, JobsRunner } from '#moult/tasks/runners/jobs-runner.js';

/** The jobs that are left where one that moves has begun and is told to leave, by what it does then. */
async function leftWhen(run: (job: Job<string>) => unknown): Promise<(string | undefined)[]> {
  const runner = new JobsRunner<string>('encode', run, { changeover: 'move' });
  runner.begin(1, undefined);
  runner.start('film');
  await Promise.resolve();
  const over = new AbortController().signal;
  const departure = { limit: over, calledOff: over, withinMs: 60_000, goesOn: true };
  runner.end(departure);
  await runner.finish(departure);
  return [...runner.piece.entries.values()].map(({ data, runner: by }) =>
    by === 'nobody' ? data : undefined,
  );
}

const HOUR_MS = 3_600_000;

describe('a job that is told to go on elsewhere', () => {
  it('does where it throws the reason', async () => {
    const waits = ({ signal }: Job<string>) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    assert.deepEqual(await leftWhen(waits), ['film']);
  });

  it('does where it waits in a function of Node’s, which throws an error of its own', async () => {
    const waits = ({ signal }: Job<string>) => pause(HOUR_MS, undefined, { signal });
    assert.deepEqual(await leftWhen(waits), ['film']);
  });

  it('does where an error of its own has that as its cause', async () => {
    const waits = ({ signal }: Job<string>) =>
      pause(HOUR_MS, undefined, { signal }).catch((cause) => {
        throw new Error('part 3 was not encoded', { cause });
      });
    assert.deepEqual(await leftWhen(waits), ['film']);
  });

  it('has failed where it throws anything else', async () => {
    const waits = ({ signal }: Job<string>) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('full'))));
    assert.deepEqual(await leftWhen(waits), []);
  });
});
