import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Keeper, type Told } from './keeper.js';
import { until } from './supervised.js';

/** Fails where two generations had the task at once. */
function assertOneOwner(told: readonly Told[], begun: string, ended: string): void {
  let owner: number | undefined;
  let epoch = 0;
  for (const one of told) {
    if (one.what === begun) {
      assert.equal(owner, undefined, `generation ${one.generation} began while ${owner} had it`);
      assert.ok((one.epoch ?? 0) > epoch, `epoch ${one.epoch} came after ${epoch}`);
      owner = one.generation;
      epoch = one.epoch ?? 0;
    }
    if (one.what === ended) {
      assert.equal(one.generation, owner);
      owner = undefined;
    }
  }
}

describe('tasks over a restart', () => {
  it('run in one generation at a time, each with what the one before returned', () =>
    Keeper.with([], {}, async ({ service, told, tells }) => {
      await tells('begun', 1);
      for (let generation = 2; generation <= 4; generation += 1) {
        await service.restart();
        await tells('begun', generation);
      }
      assertOneOwner(told(), 'begun', 'ended');
      const begun = told('begun');
      const ended = told('ended');
      assert.deepEqual(
        begun.slice(1).map(({ saved }) => saved),
        ended.map(({ turns }) => ({ turns })),
      );
    }));

  it('go back when a handover is undone', () =>
    Keeper.with([], {}, async ({ service, ask, told, tells }) => {
      await service.restart();
      await tells('begun', 2);
      await tells('consumes', 2);
      await service.moult('rollback');
      await until(
        'the first has it again',
        () => told('begun').filter((one) => one.generation === 1).length === 2,
      );
      await until('and consumes', () => told('consumes').filter((one) => one.generation === 1).length === 2);
      assertOneOwner(told(), 'begun', 'ended');
      assert.equal((await ask('/')).generation, 1);
    }));

  it('begin in the predecessor again when the successor is killed', () =>
    Keeper.with([], {}, async ({ service, ask, told, tells }) => {
      await service.restart();
      await tells('begun', 2);
      process.kill((await ask('/')).pid as number, 'SIGKILL');
      await until(
        'the first has it again',
        () => told('begun').filter((one) => one.generation === 1).length === 2,
      );
      const epochs = told('begun').map(({ epoch }) => epoch ?? 0);
      assert.deepEqual(epochs, [...epochs].sort());
      assert.equal(new Set(epochs).size, 3);
    }));

  it('begin in the successor when the predecessor is killed before it has given them', () =>
    Keeper.with([], {}, async ({ service, ask, behave, told, tells }) => {
      behave('hangs in its task');
      await service.restart();
      await tells('begun', 2);
      const { pid } = await ask('/');
      behave('good');
      await service.restart();
      assert.equal((await ask('/')).generation, 3);
      assert.deepEqual(
        told('begun').map(({ generation }) => generation),
        [1, 2],
      );
      process.kill(pid as number, 'SIGKILL');
      const { saved } = await tells('begun', 3);
      assert.equal(saved, undefined);
    }));

  it('begin in one generation only when the one in between is killed', () =>
    Keeper.with(['--probation', '0'], {}, async ({ service, ask, behave, told, tells }) => {
      behave('hangs in its task');
      await service.restart();
      await tells('begun', 2);
      const holder = (await ask('/')).pid as number;
      behave('good');
      // Also without probation the one before serves again if this one is lost before it was told that all is well.
      await service.restart('confirmed');
      const between = (await ask('/')).pid as number;
      process.kill(between, 'SIGKILL');
      await until(
        'a fourth serves',
        async () => (await ask('/').catch(() => ({ generation: 0 }))).generation === 4,
      );
      await pause(500);
      assert.deepEqual(
        told('begun').map(({ generation }) => generation),
        [1, 2],
        'generation 2 has it still',
      );
      process.kill(holder, 'SIGKILL');
      await tells('begun', 4);
    }));

  it('that are finished where they run keep their generation, through several restarts, and run once', () =>
    Keeper.with([], { ONCE_MS: '5000' }, async ({ service, told, tells }) => {
      await tells('once begun');
      for (let i = 0; i < 4; i += 1) {
        await service.restart();
        await pause(1000);
      }
      await tells('once done');
      await service.restart();
      assert.deepEqual(
        told()
          .filter(({ what }) => what.startsWith('once'))
          .map(({ what, generation }) => [what, generation]),
        [
          ['once begun', 1],
          ['once done', 1],
        ],
      );
    }));

  it('jobs that move go on in the successor from where they were, each step once', () =>
    Keeper.with([], {}, async ({ service, ask, told }) => {
      await ask('/move?name=long&steps=200&everyMs=50');
      for (let i = 0; i < 3; i += 1) {
        await service.restart();
        await pause(300);
      }
      const done = await until('the job is done', () => told('job done')[0]);
      const steps = told('step').map(({ step }) => step);
      assert.deepEqual(
        steps,
        Array.from({ length: 200 }, (_, step) => step),
      );
      assert.ok(done.generation > 1);
      assert.equal(told('job done').length, 1);
    }));

  it('jobs that stay are finished by their generation; what is started late is the successor’s', () =>
    Keeper.with([], {}, async ({ service, ask, told, tells }) => {
      await ask('/stay?name=first&ms=5000');
      const slow = ask('/late');
      await until('it is in flight', async () => (await service.current()).inFlight === 1);
      await service.restart();
      await slow;
      await until('both are done', () => told('job done').length === 2);
      const done = told('job done').map(({ job, generation }) => [job, generation]);
      assert.deepEqual(done.sort(), [
        ['first', 1],
        ['late job', 2],
      ]);
      await tells('job begun', 2);
    }));

  it('timers keep their time', () =>
    Keeper.with([], {}, async ({ service, ask, told }) => {
      const asked: Record<string, { fromMs: number; toMs: number }> = {};
      const set = async (id: string, ms: number) => {
        const fromMs = Date.now() + ms;
        await ask(`/timer?id=${id}&ms=${ms}`);
        asked[id] = { fromMs, toMs: Date.now() + ms };
      };
      await set('a', 6000);
      await set('b', 300_000);
      await service.restart();
      await set('c', 200);
      await until('two are due', () => told('timer').length === 2);
      const [first, second] = told('timer');
      assert.deepEqual([first?.id, second?.id].sort(), ['a', 'c']);
      for (const { id = '', at, due = 0 } of told('timer')) {
        const { fromMs, toMs } = asked[id] ?? assert.fail(`${id} was never set`);
        assert.ok(due >= fromMs && due <= toMs, `${id} was to be due from ${fromMs} to ${toMs}, not ${due}`);
        assert.ok(at >= due, 'none is early');
      }
      assert.ok(told('timer').every(({ generation }) => generation === 2));
    }));

  it('periodic ones neither miss nor double a tick', () =>
    Keeper.with([], { EVERY_MS: '50' }, async ({ service, told }) => {
      for (let i = 0; i < 5; i += 1) {
        await service.restart();
        await pause(200);
      }
      const due = told('tick').map(({ due }) => due ?? 0);
      assert.ok(due.length > 20);
      for (const [i, at] of due.entries()) if (i > 0) assert.equal(at - (due[i - 1] ?? 0), 50);
    }));

  it('a consumer that overlaps begins in the successor before it ends in the predecessor', () =>
    Keeper.with([], {}, async ({ service, told, tells }) => {
      await tells('consumes', 1);
      await service.restart();
      await tells('consumes no more', 1);
      const about = told().filter(({ what }) => what.startsWith('consumes'));
      assert.deepEqual(
        about.map(({ what, generation }) => [what, generation]),
        [
          ['consumes', 1],
          ['consumes', 2],
          ['consumes no more', 1],
        ],
      );
      await tells('closed', 1);
    }));

  it('a consumer that cannot begin keeps the successor from being ready', () =>
    Keeper.with([], {}, async ({ service, ask, behave, told }) => {
      behave('cannot consume');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_TASK_FAILED');
      assert.match(error.message, /overlapping cannot start: no broker/);
      assert.equal((await ask('/')).generation, 1);
      assert.deepEqual(
        told('consumes').map(({ generation }) => generation),
        [1],
      );
      assert.deepEqual(told('consumes no more'), []);
    }));

  it('a consumer that cannot start after all has the handover undone', () =>
    Keeper.with([], {}, async ({ service, ask, behave, told }) => {
      behave('cannot start');
      await service.restart().catch(() => {});
      await until('the first serves again', async () => (await ask('/')).generation === 1);
      await until('its task is back', () => told('begun').at(-1)?.generation === 1);
      assert.deepEqual(told('consumes no more'), []);
      const { stdout } = await service.moult('history', service.name, '--json');
      // It fails before or after its restart is told to have succeeded, in both cases after commit.
      const {
        result,
        stage,
        stages = [],
      } = JSON.parse(stdout).at(-1) as {
        result: string;
        stage?: string;
        stages?: { stage: string }[];
      };
      assert.equal(result, 'undone');
      assert.ok(stage === 'probation' || stages.some((one) => one.stage === 'commit'), stdout);
    }));
});
