import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fixture, Supervised, until } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';

interface Bench {
  readonly service: Supervised;
  readonly folder: string;
  ask(path: string): Promise<Record<string, unknown>>;
  behave(how: string): void;
}

async function underRun(runOptions: readonly string[], test: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'moult-library-'));
  const behaviour = join(folder, 'behaviour');
  writeFileSync(behaviour, 'good');
  const port = await freePort();
  const service = await Supervised.start({
    command: [fixture('alone.mjs')],
    runOptions,
    env: { PORT: String(port), BEHAVIOUR: behaviour, LOG: join(folder, 'log') },
  });
  try {
    await test({
      service,
      folder,
      ask: async (path) =>
        (
          await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })
        ).json() as Promise<Record<string, unknown>>,
      behave: (how) => writeFileSync(behaviour, how),
    });
    await service.stop();
  } catch (error) {
    await service.kill();
    throw new Error(`${(error as Error).stack}\n${service.output}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('the library under moult run', () => {
  it('knows its supervisor, and asks it for a restart', () =>
    underRun([], async ({ service, ask }) => {
      assert.match(service.stdout, /"event":"open","generation":1,"mode":"supervised"/);
      const summary = await ask('/restart');
      assert.equal(summary.generation, 2);
      assert.equal(summary.listeners, 1);
      const { pid } = await service.current();
      assert.equal((await ask('/')).generation, String(pid));
    }));

  it('is ready only when it says so, although it listens', () =>
    underRun(['--ready-timeout', '5s'], async ({ service, behave }) => {
      behave('never-ready');
      assert.equal((await service.failingRestart()).code, 'MOULT_READY_TIMEOUT');
    }));

  it('keeps a release that fails its own check from taking over', () =>
    underRun([], async ({ service, behave }) => {
      behave('fails-check');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_CHECK_FAILED');
      assert.match(error.message, /no database/);
      assert.equal((await service.current()).generation, 1);
    }));

  it('is not replaced within a critical section, and is when it is over', () =>
    underRun([], async ({ service, ask }) => {
      await ask('/enter');
      const restarting = service.restart();
      await service.writes(/"event":"open","generation":2/);
      await pause(500);
      assert.doesNotMatch(service.stdout, /"event":"yield"/);
      await ask('/leave');
      assert.equal((await restarting).generation, 2);
    }));

  it('calls a restart off when a critical section lasts too long', () =>
    underRun(['--busy-timeout', '300ms'], async ({ service, ask }) => {
      await ask('/enter');
      assert.equal((await service.failingRestart()).code, 'MOULT_CRITICAL_SECTION');
      await ask('/leave');
      assert.equal((await service.restart()).generation, 3);
    }));

  it('waits for critical sections when it is to be quiet', () =>
    underRun([], async ({ service, ask }) => {
      await ask('/enter');
      const error = await service.failingRestart(
        '--when-quiet',
        '--within',
        '200ms',
        '--at-limit',
        'give-up',
      );
      assert.equal(error.code, 'MOULT_NOT_QUIET');
      await ask('/leave');
    }));

  it('has its open files again after a crash: the supervisor kept them', () =>
    underRun([], async ({ service, ask, folder }) => {
      const { inode } = await ask('/write');
      // Nobody could open this file by its name any more.
      unlinkSync(join(folder, 'log'));
      const { pid } = await service.current();
      process.kill(pid, 'SIGKILL');
      await until('the next generation serves', async () => {
        const { generations } = await service.status();
        return generations.some((one) => one.state === 'serving' && one.pid !== pid);
      });
      assert.equal((await ask('/write')).inode, inode);
    }));
});
