import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Keeper } from './keeper.js';
import { Supervised, until } from './supervised.js';

const PARTS = 25;

/** Has requests start jobs and set timers all the time, until it is told to stop. @returns what was acknowledged. */
function asking({ ask }: Keeper): () => Promise<{ jobs: string[]; timers: string[] }> {
  const jobs: string[] = [];
  const timers: string[] = [];
  let isOn = true;
  const going = (async () => {
    for (let i = 0; isOn; i += 1) {
      const kind = i % 2 === 0 ? 'stay' : 'move';
      await ask(`/job?kind=${kind}&name=job ${i}&parts=${PARTS}&everyMs=40`);
      jobs.push(`job ${i}`);
      await ask(`/timer?id=timer ${i}&ms=${[50, 900, 4000][i % 3]}`);
      timers.push(`timer ${i}`);
      await pause(30);
    }
  })();
  // What fails first is told, not that requests failed when the service was ended for it.
  going.catch(() => {});
  return async () => {
    isOn = false;
    await going;
    return { jobs, timers };
  };
}

/** Waits until all jobs are done and all timers run, and fails unless each was so once, and in order. */
async function assertOnce(
  { told }: Keeper,
  { jobs, timers }: { jobs: string[]; timers: string[] },
): Promise<void> {
  await until('all is done', () => {
    const ended = new Set(
      told().flatMap(({ what, job, id }) => (what === 'done' ? job : what === 'fired' ? id : [])),
    );
    return [...jobs, ...timers].every((one) => ended.has(one));
  });
  const partsOf = (name: string) => told('part').flatMap(({ job, part }) => (job === name ? [part] : []));
  const wanted = Array.from({ length: PARTS }, (_, part) => part);
  for (const name of jobs) assert.deepEqual(partsOf(name), wanted, name);
  const names = (all: readonly (string | undefined)[]) => [...all].sort();
  assert.deepEqual(names(told('done').map(({ job }) => job)), names(jobs));
  const fired = told('fired').map(({ id }) => id);
  assert.deepEqual(names(fired.filter((id) => id?.startsWith('timer '))), names(timers));
}

async function goesWell({ service }: Keeper, ...command: string[]): Promise<void> {
  const { code, stderr } = await service.moult(...command);
  assert.equal(code, 0, `${command.join(' ')}: ${stderr}`);
}

describe('jobs and timers come to pass once over a life', () => {
  it('with a restart, an undo, a rollback of what has proved itself, an upgrade and a take-over', () =>
    Keeper.with(
      // Long enough for the undo to be asked for in it, also where commands take seconds to start.
      ['--probation', '8s', '--drain-timeout', '5s'],
      {},
      async (keeper) => {
        const { service, options, ask } = keeper;
        const stop = asking(keeper);
        await service.restart();
        await goesWell(keeper, 'rollback');
        await until('the first serves again', async () => (await ask('/')).generation === 1);
        await service.restart();
        await until('it has proved itself', async () => (await service.status()).generations.length === 1);
        await goesWell(keeper, 'rollback');
        await goesWell(keeper, 'upgrade', service.name);
        await service.restart();
        const next = await Supervised.start({
          ...options,
          name: 'next',
          runtimeFolder: service.runtimeFolder,
          runOptions: [...(options.runOptions ?? []), '--take-over', service.folder.path],
        });
        try {
          keeper.endsWith = 0;
          await next.restart();
          await assertOnce(keeper, await stop());
        } finally {
          await next.stop();
        }
      },
      'owns.mjs',
    ));

  it('in slots that are rolled, rolled back, upgraded, and made fewer', () =>
    Keeper.with(
      ['--slots', '2', '--probation', '1s', '--drain-timeout', '2s'],
      {},
      async (keeper) => {
        const { service, ask } = keeper;
        // Each slot runs its own timers, whichever began first.
        const setters = new Set<unknown>();
        for (let i = 0; setters.size < 2; i += 1)
          setters.add((await ask(`/timer?id=first ${i}&ms=1`)).generation);
        await until('a timer has run in each slot', () => {
          const ran = new Set(keeper.told('fired').map(({ generation }) => generation));
          return ran.size === 2;
        });
        const stop = asking(keeper);
        await service.restart();
        await goesWell(keeper, 'rollback');
        await goesWell(keeper, 'upgrade', service.name);
        await until('it serves', async () => (await ask('/')).generation !== undefined);
        // More than one message has room for, in whichever slot.
        for (let i = 0; i < 4; i += 1) await ask(`/timers?count=20000&bytes=400&ms=3000000`);
        const refused = await service.moult('scale', '1', service.name);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /1 instead of 2 slots would lose .*the state counter of one slot/);
        assert.match(refused.stderr, /MOULT_STATE_LOST/);
        assert.equal((await service.status()).generations.length, 2, 'nothing was changed');
        const fewer = await service.moult('scale', '1', service.name, '--drop-state');
        assert.equal(fewer.code, 0, fewer.stderr);
        assert.match(fewer.stdout, /^ {2}lost: the state counter of the slot that has ended$/m);
        await goesWell(keeper, 'scale', '3');
        const { stdout } = await service.moult('scale', '1', service.name, '--json', '--drop-state');
        const { lost } = JSON.parse(stdout) as { lost: { name: string; slots: number }[] };
        assert.deepEqual(
          lost.find(({ name }) => name === 'counter'),
          { name: 'counter', slots: 2 },
        );
        await assertOnce(keeper, await stop());
        assert.equal((await ask('/')).timers, 20_000);
      },
      'owns.mjs',
    ));
});
