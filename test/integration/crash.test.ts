import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { askOnce, RawClient } from './raw-client.js';
import { fixture, pointAt, processesWith, until, withFolder, withService } from './supervised.js';

const clients = { 'kept-alive': 0, pipelined: 0, 'slow-body': 0, 'new-connection': 4 };

describe('a crash of the service', () => {
  it('refuses no connection: clients wait in the backlog until the last good release serves again', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      const target = await service.target();
      const before = await service.current();
      const load = startLoad({ target, check: 'echo', clients, thinkMs: 5 * PACE });
      await until('the load runs', () => load.snapshot().total.answered > 20);
      process.kill(before.pid, 'SIGKILL');
      await service.logs(/generation 2 serves/);
      const answered = load.snapshot().total.answered;
      await until('the load goes on', () => load.snapshot().total.answered > answered + 20);
      const report = await load.stop();
      // What was in flight in the killed process is lost with it, but a connect never fails.
      assert.equal(report.total.reasons.refused ?? 0, 0);
      assert.equal(report.total.reasons['connect-failed'] ?? 0, 0);
      assert.equal(report.total.reasons['connect-timeout'] ?? 0, 0);
      assert.equal((await service.status()).crashes, 1);
    });
  });

  it('waits longer and longer between starts of a service that keeps crashing', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      await pointAt(link, fixture('http.mjs'));
      await withService({ command: [link] }, async (service) => {
        const target = await service.target();
        for (let crash = 1; crash <= 4; crash += 1) {
          const { pid } = await service.current();
          process.kill(pid, 'SIGKILL');
          await service.logs(new RegExp(`generation ${crash + 1} serves`));
        }
        const waits = service
          .log()
          .flatMap((line) => /last good release starts (now|in (\d+) ms)/.exec(line)?.[2] ?? []);
        assert.deepEqual(waits, ['100', '200', '400']);
        // Not only said: the next one did not serve before.
        const at = (pattern: RegExp) =>
          service.timedLog().flatMap(({ time, msg }) => (pattern.test(msg) ? time : []));
        const said = at(/last good release starts in/);
        const served = at(/generation [345] serves/);
        for (const [i, wait] of waits.entries()) {
          const waitedMs = (served[i] ?? 0) - (said[i] ?? Number.POSITIVE_INFINITY);
          // A timer counts from the beginning of its turn.
          assert.ok(waitedMs >= Number(wait) - 20, `waited ${waitedMs} of ${wait} ms`);
        }
        await askOnce(target);
      });
    });
  });

  it('runs the last good release again although the path now holds a broken one', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      await pointAt(link, fixture('http.mjs'));
      await withService({ command: [link] }, async (service) => {
        const target = await service.target();
        await pointAt(link, fixture('broken/throws.mjs'));
        process.kill((await service.current()).pid, 'SIGKILL');
        await service.logs(/generation 2 serves/);
        assert.equal(await askOnce(target), String((await service.current()).pid));
      });
    });
  });

  it('is mended by one new generation also when a restart is asked for while it starts', async () => {
    const env = { START_MS: '700' };
    await withService(
      { command: [fixture('slow-start.cjs')], env, runOptions: ['--probation', '50ms'] },
      async (service) => {
        const target = await service.target();
        process.kill((await service.current()).pid, 'SIGKILL');
        await until('the next generation starts', () => service.output.split('STARTING').length > 2);
        await service.restart();
        const pid = await service.alone();
        for (let i = 0; i < 10; i += 1) assert.equal(await askOnce(target), String(pid));
        assert.equal(processesWith(service.mark).length, 2, 'the supervisor and one generation');
      },
    );
  });

  it('is mended also while the predecessor still drains a long download', async () => {
    await withService(
      { command: [fixture('shapes.mjs')], runOptions: ['--probation', '50ms'] },
      async (service) => {
        const target = await service.target();
        const download = await RawClient.connect(target);
        download.write('GET /download HTTP/1.1\r\nHost: test\r\n\r\n');
        await download.reads(/more/);
        const first = await service.current();
        await service.restart();
        await until('the restart is confirmed', async () =>
          (await service.status()).generations.some(
            (one) => one.pid === first.pid && one.state === 'draining',
          ),
        );
        const second = await service.current();
        process.kill(second.pid, 'SIGKILL');
        await service.logs(/generation 3 serves/);
        assert.notEqual(await askOnce(target), String(second.pid));
        process.kill(first.pid, 'SIGUSR2');
        await download.reads(/end\n/);
        download.close();
      },
    );
  });

  it('in the middle of a restart lets the successor take over', async () => {
    await withFolder(async (folder) => {
      const READY_FILE = path.join(folder, 'ready');
      const link = path.join(folder, 'current.cjs');
      await pointAt(link, fixture('http.cjs'));
      await withService({ command: [link], env: { READY_FILE } }, async (service) => {
        const target = await service.target();
        // A restart that failed before must not be taken for the one under way.
        await pointAt(link, fixture('broken/throws.mjs'));
        await service.failingRestart();
        await pointAt(link, fixture('slow-start.cjs'));
        const first = await service.current();
        const restart = service.restart();
        await service.writes(/STARTING (\d+)/);
        process.kill(first.pid, 'SIGKILL');
        await restart;
        const successor = await service.current();
        assert.equal(successor.pid, Number(/STARTING (\d+)/.exec(service.output)?.[1]));
        assert.equal(await askOnce(target), String(successor.pid));
        assert.equal(await service.alone(), successor.pid);
        assert.equal(processesWith(service.mark).length, 2);
      });
    });
  });

  it('lets a successor that has claimed its listeners, and is not ready yet, take over when it is', async () => {
    await withFolder(async (folder) => {
      const READY_FILE = path.join(folder, 'ready');
      await writeFile(READY_FILE, '');
      const options = {
        command: [fixture('wait-ready.cjs')],
        runOptions: ['--wait-ready'],
        env: { READY_FILE },
      };
      await withService(options, async (service) => {
        const target = await service.target();
        const first = await service.current();
        await rm(READY_FILE);
        const restart = service.restart();
        const successor = await until('the successor listens', () => {
          const pids = [...service.output.matchAll(/(\d+) listens/g)].map((match) => Number(match[1]));
          return pids.find((pid) => pid !== first.pid);
        });
        process.kill(first.pid, 'SIGKILL');
        await until(
          'the predecessor is gone',
          () => !processesWith(service.mark).some(({ pid }) => pid === first.pid),
        );
        const [answeredBy] = await Promise.all([askOnce(target), writeFile(READY_FILE, ''), restart]);
        assert.equal(answeredBy, String(successor));
        assert.equal(await service.alone(), successor);
      });
    });
  });

  it('of a successor right after it has taken over lets the predecessor serve again, and refuses nothing', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      const target = await service.target();
      const first = await service.current();
      const load = startLoad({ target, check: 'echo', clients, thinkMs: 5 * PACE });
      await until('the load runs', () => load.snapshot().total.answered > 20);
      for (let round = 0; round < 3; round += 1) {
        const { generation } = await service.restart();
        const successor = await service.current();
        assert.equal(successor.generation, generation);
        process.kill(successor.pid, 'SIGKILL');
        await until(
          'the predecessor serves again',
          async () => (await service.status()).state === 'serving' && (await service.alone()) === first.pid,
        );
        assert.equal(await askOnce(target), String(first.pid));
      }
      const report = await load.stop();
      for (const reason of ['refused', 'connect-failed', 'connect-timeout'])
        assert.equal(report.total.reasons[reason] ?? 0, 0, reason);
      await service.logs(/generation 4 was undone .*generation 1 serves again/);
    });
  });

  it('of both generations in probation starts the last good release', async () => {
    await withService({ command: [fixture('http.mjs')] }, async (service) => {
      const target = await service.target();
      const first = await service.current();
      await service.restart();
      const second = await service.current();
      process.kill(first.pid, 'SIGSTOP');
      process.kill(second.pid, 'SIGKILL');
      process.kill(first.pid, 'SIGKILL');
      await service.logs(/generation 3 serves/);
      assert.equal(await askOnce(target), String(await service.alone()));
    });
  });
});
