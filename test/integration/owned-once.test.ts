import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Keeper, type Told } from './keeper.js';
import { until } from './supervised.js';

type Ask = Keeper['ask'];

/** What was told of each job: its parts in the order in which they were done, and how often it was done. */
function jobsOf(told: readonly Told[]): Map<string, { parts: number[]; done: number }> {
  const jobs = new Map<string, { parts: number[]; done: number }>();
  for (const { what, job = '', part } of told) {
    if (what !== 'part' && what !== 'done') continue;
    const one = jobs.get(job) ?? { parts: [], done: 0 };
    jobs.set(job, one);
    if (what === 'part') one.parts.push(part ?? -1);
    else one.done += 1;
  }
  return jobs;
}

/** Starts jobs by requests until it is told to stop. @returns the names of all that were acknowledged. */
function startingJobs(ask: Ask, kind: string, parts: number): () => Promise<string[]> {
  const names: string[] = [];
  let isOn = true;
  const going = (async () => {
    for (let i = 0; isOn; i += 1) {
      const name = `${kind} ${i}`;
      await ask(`/job?kind=${kind}&name=${name}&parts=${parts}&everyMs=100`);
      names.push(name);
      await pause(40);
    }
  })();
  return async () => {
    isOn = false;
    await going;
    return names;
  };
}

async function assertDoneOnce(
  told: () => Told[],
  names: readonly string[],
  parts: number,
  mayRepeat = false,
): Promise<void> {
  const wanted = Array.from({ length: parts }, (_, part) => part);
  await until('all jobs are done', () => {
    const done = new Set(told().flatMap(({ what, job }) => (what === 'done' ? [job] : [])));
    return names.every((name) => done.has(name));
  });
  const jobs = jobsOf(told());
  for (const name of names) {
    const { parts: all = [], done } = jobs.get(name) ?? {};
    // One that is killed between a part and the word of it does that part again.
    const once = mayRepeat ? all.filter((part, i) => part !== all[i - 1]) : all;
    assert.deepEqual({ once, done }, { once: wanted, done: 1 }, name);
  }
}

const undone = async ({ service, ask }: Keeper, to: number): Promise<void> => {
  await service.moult('rollback');
  await until('it is undone', async () => (await ask('/')).generation === to);
};

const owns = (
  options: readonly string[],
  env: Record<string, string>,
  test: (keeper: Keeper) => Promise<void>,
) => Keeper.with(['--probation', '60s', ...options], env, test, 'owns.mjs');

describe('what was acknowledged has one owner', () => {
  for (const kind of ['stay', 'move']) {
    it(`jobs that ${kind}, over a restart that is undone, and beyond the deadline of its drain`, () =>
      owns(['--drain-timeout', '2s'], {}, async (keeper) => {
        const { service, ask, told, openGate } = keeper;
        // One that is slow to heed what it is told.
        await ask(`/job?kind=${kind}&name=slow&parts=25&everyMs=100&waits`);
        const stop = startingJobs(ask, kind, 25);
        await pause(500);
        await service.restart();
        await pause(1000);
        await undone(keeper, 1);
        await pause(2500);
        const names = [...(await stop()), 'slow'];
        assert.ok(names.length > 20);
        openGate();
        await assertDoneOnce(told, names, 25);
      }));
  }

  it('jobs that move wait for no other that is slow to heed', () =>
    owns([], {}, async ({ service, ask, told, openGate }) => {
      await ask('/job?kind=move&name=slow&parts=3&everyMs=10&waits');
      for (let i = 0; i < 10; i += 1) await ask(`/job?kind=move&name=${i}&parts=400&everyMs=10`);
      await service.restart();
      const on = () =>
        new Set(
          told('part').flatMap(({ generation, job }) => (generation === 2 && job !== undefined ? [job] : [])),
        );
      await until('the others are in the next generation', () => on().size === 10);
      assert.deepEqual(
        told('from').filter(({ job }) => job === 'slow').length,
        1,
        'the slow one has not moved yet',
      );
      openGate();
      await assertDoneOnce(told, ['slow'], 3);
    }));

  it('60,000 timers with 100 bytes each, over a restart, an undo and another restart', () =>
    owns([], {}, async (keeper) => {
      const { service, ask, told } = keeper;
      await ask('/timers?count=60000&bytes=100&ms=3000000');
      await service.restart();
      await until('the successor has them', async () => (await ask('/')).timers === 60_000);
      await undone(keeper, 1);
      await until('the predecessor has them', async () => (await ask('/')).timers === 60_000);
      await service.restart();
      await until('the next one has them', async () => (await ask('/')).timers === 60_000);
      for (const id of [0, 30_000, 59_999]) await ask(`/timer?id=${id}&ms=1`);
      await until('they are run', () => told('fired').length === 3);
      assert.equal((await ask('/')).timers, 59_997);
    }));

  it('timers that requests set and clear all the time, over four restarts and an undo', () =>
    owns(['--probation', '1s'], {}, async (keeper) => {
      const { service, ask, told } = keeper;
      const cleared = new Map<string, number>();
      const kept = new Set<string>();
      let isOn = true;
      const going = Array.from({ length: 8 }, async (_, client) => {
        for (let i = 0; isOn; i += 1) {
          const id = `${client} ${i}`;
          await ask(`/timer?id=${id}&ms=1000`);
          if (i % 4 === 0) kept.add(id);
          else {
            await pause(Math.random() * 300);
            await ask(`/clear?id=${id}`);
            cleared.set(id, Date.now());
          }
        }
      });
      for (let i = 0; i < 5; i += 1) {
        await pause(300);
        await service.restart();
        if (i === 2) await service.moult('rollback');
      }
      isOn = false;
      await Promise.all(going);
      await until('those that were not cleared have been run', () => {
        const fired = new Set(told('fired').map(({ id }) => id));
        return [...kept].every((id) => fired.has(id));
      });
      const times = new Map<string, number>();
      for (const { id = '', at } of told('fired')) {
        times.set(id, (times.get(id) ?? 0) + 1);
        const clearedAt = cleared.get(id);
        assert.ok(
          clearedAt === undefined || at <= clearedAt,
          `${id} was run ${at - (clearedAt ?? 0)} ms after it was cleared`,
        );
      }
      assert.ok(kept.size > 50);
      for (const [id, count] of times) assert.equal(count, 1, `${id} was run ${count} times`);
    }));

  it('what requests in progress change, set, clear and start after a handover, which is then undone', () =>
    owns([], {}, async (keeper) => {
      const { service, ask, told } = keeper;
      /** Requests that go on when this event has come, and change, set, clear and start something then. */
      const twenty = async (generation: number, after: string) => {
        await ask(`/timer?id=cleared ${generation}&ms=600000`);
        const asked = Array.from({ length: 20 }, (_, i) => {
          const job = `job=${i % 2 === 0 ? 'stay' : 'move'}`;
          const timers = `clear=cleared ${generation}&set=${generation} ${i}&due=10`;
          return ask(`/late?after=${after}&ms=${i * 5}&id=${generation} ${i}&${timers}&${job}`);
        });
        await until('they are in progress', async () => (await service.current()).inFlight === 20);
        return async () => {
          const by = new Set((await Promise.all(asked)).map((one) => one.generation));
          assert.deepEqual(by, new Set([generation]));
        };
      };
      const has = async (count: number) =>
        until(`${count} changes are there`, async () => {
          const now = await ask('/');
          return now.count === count && now.map === count;
        });
      const byPredecessor = await twenty(1, 'yield');
      await service.restart();
      await byPredecessor();
      await undone(keeper, 1);
      await has(20);
      await service.restart();
      const bySuccessor = await twenty(3, 'drain');
      await undone(keeper, 1);
      await bySuccessor();
      await has(40);
      await service.restart();
      await has(40);
      const ids = [1, 3].flatMap((generation) => Array.from({ length: 20 }, (_, i) => `${generation} ${i}`));
      await until('the timers are run', () => told('fired').length >= 40);
      await until('the jobs are done', () => told('done').length >= 40);
      assert.equal((await ask('/')).timers, 0, 'those that they cleared are gone');
      assert.deepEqual(
        told('fired')
          .map(({ id }) => id)
          .sort(),
        [...ids].sort(),
      );
      assert.deepEqual(
        told('done')
          .map(({ job }) => job)
          .sort(),
        ids.map((id) => `late ${id}`).sort(),
      );
    }));

  it('what requests in progress change, set and clear while whoever took over is stopped, and then killed', () =>
    owns(['--probation', '200ms'], {}, async ({ service, ask, told, openGate }) => {
      const first = (await ask('/')).pid as number;
      // Due long after all of this, however slow.
      await ask('/timer?id=cleared&ms=600000');
      const late = Array.from({ length: 6 }, (_, i) => {
        const timers = i === 0 ? 'clear=cleared' : `set=late ${i}&due=10`;
        return ask(`/late?after=gate&id=late ${i}&${timers}`);
      });
      await until('they are in progress', async () => (await service.current()).inFlight === late.length);
      await service.restart();
      const second = (await ask('/')).pid as number;
      // It ends only after the first.
      await service.restart();
      const drains = async () => (await service.status()).generations.map(({ pid }) => pid);
      await until('the third is there to stay', async () => (await service.current()).generation === 3);
      await until('all three are there', async () =>
        [first, second].every((pid) => drains().then((all) => all.includes(pid))),
      );
      // Whatever is told to it from now on is not read.
      process.kill(second, 'SIGSTOP');
      openGate();
      assert.deepEqual(new Set((await Promise.all(late)).map((one) => one.generation)), new Set([1]));
      process.kill(second, 'SIGKILL');
      const keys = late.map((_, i) => `late ${i}`);
      await until('the third has what they changed', async () => {
        const now = (await ask('/keys')) as { count: number; keys: string[] };
        return now.count === late.length && keys.every((key) => now.keys.includes(key));
      });
      await until('the timers that they set are run', () => told('fired').length === late.length - 1);
      assert.ok(told('fired').every(({ id, generation }) => id !== 'cleared' && generation === 3));
      assert.equal((await ask('/')).timers, 0, 'the one that they cleared is gone');
    }));

  it('a task that returns 10 MB gives it along; one whose value cannot be cloned has the restart undone', async () => {
    await owns([], { BIG: String(10 << 20) }, async ({ service, tells }) => {
      await service.restart();
      assert.equal((await tells('begins', 2)).bytes, 10 << 20);
    });
    await owns([], { WITH: 'uncloneable' }, async ({ service, ask, told }) => {
      await service.restart().catch(() => {});
      await until(
        'the first has its task again',
        () => told('begins').filter(({ generation }) => generation === 1).length === 2,
      );
      assert.equal((await ask('/')).generation, 1);
      const { stdout } = await service.moult('history', service.name, '--json');
      assert.match(stdout, /the data that task returns hands over cannot be cloned/);
    });
  });

  it('what a handover was to end is not ended once it is undone', () =>
    owns(['--drain-timeout', '8s'], { WITH: 'finishes ticks' }, async (keeper) => {
      const { service, told, tells, openGate } = keeper;
      await tells('finishing begins', 1);
      await tells('tick', 1);
      await service.restart();
      await undone(keeper, 1);
      const ticks = told('tick').length;
      await until('ticks that began since are over', () => told('tick').length > ticks + 36);
      const aborted = told('tick aborted').filter(({ generation }) => generation === 1);
      assert.deepEqual(aborted, [], 'what the successor had is ended by its own drain');
      assert.deepEqual(told('finishing is aborted'), []);
      openGate();
      await tells('finishing is done', 1);
    }));

  for (const victim of ['predecessor', 'successor'] as const) {
    it(`jobs and timers, where the ${victim} is killed in probation`, () =>
      owns([], {}, async ({ service, ask, told }) => {
        for (let i = 0; i < 5; i += 1) {
          await ask(`/job?kind=stay&name=stay ${i}&parts=100&everyMs=20`);
          await ask(`/job?kind=move&name=move ${i}&parts=100&everyMs=20`);
        }
        for (const id of ['early', 'cleared']) await ask(`/timer?id=${id}&ms=600000`);
        const first = (await ask('/')).pid as number;
        await service.restart();
        // What the successor acknowledges, sets, clears, runs and does.
        await ask('/timer?id=early&ms=1');
        await ask('/clear?id=cleared');
        await ask('/timer?id=set in probation&ms=3000');
        await ask('/job?kind=stay&name=new&parts=100&everyMs=20');
        await ask('/job?kind=stay&name=done&parts=2&everyMs=1');
        await until(
          'it has run and done something',
          () => told('fired').length > 0 && told('done').length > 0,
        );
        const second = (await ask('/')).pid as number;
        process.kill(victim === 'predecessor' ? first : second, 'SIGKILL');
        const names = ['stay', 'move'].flatMap((kind) => Array.from({ length: 5 }, (_, i) => `${kind} ${i}`));
        await assertDoneOnce(told, [...names, 'new'], 100, true);
        await assertDoneOnce(told, ['done'], 2);
        await until('the timer is run', () => told('fired').length >= 2);
        assert.deepEqual(
          told('fired').map(({ id }) => id),
          ['early', 'set in probation'],
        );
      }));
  }
});
