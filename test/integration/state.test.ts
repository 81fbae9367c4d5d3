import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Keeper } from './keeper.js';
import { Supervised, until } from './supervised.js';

describe('state over a restart', () => {
  it('goes along: what is given whole, and a map with what has changed since the copy', () =>
    Keeper.with([], {}, async ({ service, ask }) => {
      await ask('/count');
      await ask('/count');
      await ask('/fill?entries=5000&bytes=1000');
      await ask('/set?key=a&value=1');
      await service.restart();
      assert.deepEqual(await ask('/get?key=a'), { value: '1' });
      await ask('/delete?key=a');
      await ask('/set?key=b&value=2');
      const { pid: _, late: __, ...now } = await ask('/');
      assert.deepEqual(now, { generation: 2, count: 2, restored: 1, size: 5001 });
      await service.restart();
      assert.deepEqual(await ask('/get?key=a'), { value: null });
      assert.deepEqual(await ask('/get?key=b'), { value: '2' });
      assert.equal((await ask('/')).size, 5001);
    }));

  it('comes back when a handover is undone, with what the successor has changed', () =>
    Keeper.with([], {}, async ({ service, ask }) => {
      await ask('/fill?entries=100&bytes=10');
      await service.restart();
      await ask('/count');
      await ask('/set?key=new&value=from the successor');
      await ask('/delete?key=filled 7');
      await service.moult('rollback');
      await until('the first serves again', async () => (await ask('/')).generation === 1);
      const { count, size } = await ask('/');
      assert.deepEqual({ count, size }, { count: 1, size: 100 });
      assert.deepEqual(await ask('/get?key=new'), { value: 'from the successor' });
      assert.deepEqual(await ask('/get?key=filled 7'), { value: null });
    }));

  it('stays as it was at the handover when the successor is killed', () =>
    Keeper.with([], {}, async ({ service, ask }) => {
      await ask('/set?key=a&value=1');
      await service.restart();
      await ask('/set?key=a&value=2');
      const { pid } = await ask('/');
      process.kill(pid as number, 'SIGKILL');
      await service.logs(/generation 1 serves again|undone/);
      await until(
        'the first serves',
        async () => (await ask('/').catch(() => ({}) as Record<string, unknown>)).generation === 1,
      );
      assert.deepEqual(await ask('/get?key=a'), { value: '1' });
    }));

  it('is never had in part: a predecessor that is killed in the middle of the copy takes it along', () =>
    Keeper.with([], {}, async ({ service, ask }) => {
      await ask('/fill?entries=200000&bytes=1000');
      const { pid } = await service.current();
      const before = writtenBy(pid);
      const restarting = service.restart();
      // 200 MB are to be sent; with a tenth of it on its way, the copy has begun and is not over.
      await until('the copy is under way', () => writtenBy(pid) - before > 20e6);
      assert.ok(writtenBy(pid) - before < 150e6, 'the copy is not over');
      process.kill(pid, 'SIGKILL');
      // Nobody else is left who could serve. What had arrived whole it has, of the map nothing.
      await restarting;
      const { generation, size, restored } = await ask('/');
      assert.deepEqual({ generation, size, restored }, { generation: 2, size: 0, restored: 1 });
      // And what it has from then on goes along as ever.
      await ask('/set?key=a&value=1');
      await service.restart();
      assert.deepEqual(await ask('/get?key=a'), { value: '1' });
    }));

  it('that changes late, by a request in progress, reaches the successor', () =>
    Keeper.with([], {}, async ({ service, ask }) => {
      const slow = ask('/late');
      await until('it is in flight', async () => (await service.current()).inFlight === 1);
      await service.restart();
      assert.equal((await slow).generation, 1);
      await until('the map has it', async () => (await ask('/get?key=late')).value !== null);
      await until('the counter has it', async () => (await ask('/')).late !== undefined);
      const { late, count } = await ask('/');
      assert.deepEqual(late, { atEnd: 1, atHandover: 0 });
      assert.equal(count, 1);
    }));

  it('that changes late reaches the successor although the next supervisor hears nothing of the predecessor', () =>
    Keeper.with(['--probation', '9s'], {}, async (keeper) => {
      const { service, ask, options } = keeper;
      keeper.endsWith = 'SIGKILL';
      const { pid } = await service.current();
      const slow = ask('/late');
      await until('it is in flight', async () => (await service.current()).inFlight === 1);
      await service.restart();
      await slow;
      process.kill(pid, 'SIGSTOP');
      await service.killSupervisor();
      const next = await Supervised.start({ ...options, runtimeFolder: service.runtimeFolder });
      // It has waited for it, in vain.
      await next.logs(/generation 2 is adopted/);
      process.kill(pid, 'SIGCONT');
      await until('the predecessor has come to its end', () => !existsSync(`/proc/${pid}`));
      assert.deepEqual((await ask('/')).late, { atEnd: 1, atHandover: 0 });
      await next.stop();
    }));

  it('that cannot be restored keeps the successor from taking over', () =>
    Keeper.with([], {}, async ({ service, ask, behave }) => {
      await ask('/count');
      behave('restore fails');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_STATE_FAILED');
      assert.match(error.message, /state counter, version 1, could not be restored: unreadable/);
      assert.equal((await ask('/')).generation, 1);
      assert.equal((await ask('/')).count, 1);
    }));

  it('that cannot be saved, or is too large, calls the handover off', () =>
    Keeper.with([], {}, async ({ service, ask, behave }) => {
      behave('save fails');
      await service.restart();
      assert.equal((await service.failingRestart()).code, 'MOULT_STATE_FAILED');
      await ask('/count');
      assert.equal((await ask('/')).generation, 2);
    }));

  it('that is too large calls the handover off', () =>
    Keeper.with([], {}, async ({ service, ask, behave }) => {
      behave('saves too much');
      await service.restart();
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_STATE_TOO_LARGE');
      assert.match(error.message, /at most 1048576 bytes/);
      assert.equal((await ask('/')).generation, 2);
    }));

  it('is carried up to a newer version, and down again when that is rolled back', () =>
    Keeper.with([], {}, async ({ service, ask, behave }) => {
      behave('version 2');
      await service.restart();
      await ask('/count');
      behave('version 3');
      await service.restart();
      assert.equal((await ask('/')).generation, 3);
      assert.equal((await ask('/')).from, 2);
      await service.moult('rollback');
      await until('the second serves again', async () => (await ask('/')).generation === 2);
      const { count, from, to } = await ask('/');
      assert.deepEqual({ count, from, to }, { count: 1, from: 2, to: 2 });
    }));

  it('of a version that the successor does not know keeps it from taking over', () =>
    Keeper.with([], {}, async ({ service, ask, behave }) => {
      behave('version 3');
      await service.restart();
      behave('knows no old version');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_STATE_VERSION');
      assert.match(error.message, /can give versions 1 to 3, the successor reads 9 to 9/);
      assert.equal((await ask('/')).generation, 2);
    }));
});

/** How many bytes a process has written, to sockets as well. */
function writtenBy(pid: number): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
}
