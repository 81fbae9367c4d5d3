import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { fixture, until, withService } from './supervised.js';

const conventions = {
  'pm2.cjs': ['PM2: ready by message, ended by SIGINT', ['--wait-ready']],
  'pm2-message.cjs': ['PM2: ended by a message', ['--wait-ready']],
  'naught.cjs': ['naught: online and shutdown', ['--wait-ready']],
  'http.cjs': ['nobody: ended by SIGTERM', []],
} as const;

/** A connection for each: one that is kept may just be closed by the other side. */
const ONCE = { headers: { connection: 'close' } };

describe('a service that was written for another manager', () => {
  for (const [script, [convention, waits]] of Object.entries(conventions)) {
    it(`restarts and stops unchanged under moult run, by the conventions of ${convention}`, async () => {
      const runOptions = [...waits, '--probation', '100ms'];
      let first = 0;
      let second = 0;
      await withService({ command: [fixture(script)], runOptions }, async (service) => {
        first = (await service.current()).pid as number;
        await service.restart();
        await service.writes(new RegExp(`pool of ${first} closed`));
        await service.alone();
        second = (await service.current()).pid as number;
        assert.notEqual(second, first);
        await service.stop();
        assert.match(service.stdout, new RegExp(`pool of ${second} closed`));
        assert.deepEqual(
          service.log().filter((line) => /killed|ended with|failed/.test(line)),
          [],
        );
      });
    });
  }

  for (const stopSignal of ['SIGTERM', 'SIGINT']) {
    it(`is asked by the stop signal alone where it has a handler for that: ${stopSignal}`, async () => {
      const command = [fixture('hears-all.cjs')];
      await withService({ command, runOptions: ['--stop-signal', stopSignal] }, async (service) => {
        await service.stop();
        assert.deepEqual(service.stdout.match(/^asked by .*$/gm), [`asked by ${stopSignal}`]);
      });
    });
  }

  it('forks workers of its own: those finish what they have, and new clients meet the new ones', async () => {
    const port = await freePort();
    const options = {
      command: [fixture('cluster.cjs')],
      env: { PORT: String(port) },
      runOptions: ['--wait-ready', '--probation', '100ms'],
    };
    await withService(options, async (service) => {
      const { pid: first } = await service.current();
      const ask = async (path: string) =>
        Number(await (await fetch(`http://127.0.0.1:${port}${path}`, ONCE)).text());
      assert.equal(await ask('/'), first);
      const slow = ask('/slow');
      await service.restart();
      const { pid: second } = await service.current();
      assert.equal(await slow, first);
      await service.alone();
      assert.notEqual(second, first);
      assert.equal(await ask('/'), second);
      assert.match(service.stdout, new RegExp(`pool of ${first} closed`));
    });
  });

  for (const how of ['by the environment', 'in its code']) {
    it(`would have its workers accept (SCHED_NONE ${how}): its primary does, and its listener is handed over`, async () => {
      const port = await freePort();
      const policy = how === 'in its code' ? { SCHED: '1' } : { NODE_CLUSTER_SCHED_POLICY: 'none' };
      const options = {
        command: [fixture('plain-cluster.cjs')],
        env: { PORT: String(port), ...policy },
        runOptions: ['--probation', '100ms'],
      };
      await withService(options, async (service) => {
        const { pid: first } = await service.current();
        await service.writes(/MoultWarning: NODE_CLUSTER_SCHED_POLICY=none .* do not apply/);
        assert.equal((await service.restart()).listeners, 1);
        await service.alone();
        const { pid: second } = await service.current();
        const answer = await fetch(`http://127.0.0.1:${port}/`, ONCE);
        assert.equal(Number(await answer.text()), second);
        assert.notEqual(second, first);
      });
    });
  }

  it('forks workers and knows of no signal: it is told at its start what moves, and answers what it has begun', async () => {
    const port = await freePort();
    const options = {
      command: [fixture('plain-cluster.cjs')],
      env: { PORT: String(port) },
      runOptions: ['--probation', '100ms'],
    };
    await withService(options, async (service) => {
      const { pid: first } = await service.current();
      await service.writes(/workers of node:cluster accept for this service/);
      const ask = async (path: string) =>
        Number(await (await fetch(`http://127.0.0.1:${port}${path}`, ONCE)).text());
      const slow = Array.from({ length: 8 }, () => ask('/slow'));
      // A connection that is on its way to a worker yet has not begun.
      await until('all have begun', () => service.stdout.match(/slow begins/g)?.length === slow.length);
      await service.restart();
      assert.deepEqual(
        await Promise.all(slow),
        slow.map(() => first),
      );
      await service.alone();
      assert.notEqual(await ask('/'), first);
    });
  });
});
