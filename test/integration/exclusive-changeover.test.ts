// Services that must never run twice, and services that must always run: who works is read from what they write.
import assert from 'node:assert/strict';
import { chmod, copyFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePorts } from '../support/free-ports.js';
import { askOnce } from './raw-client.js';
import { whenAllServe } from './slots-of.js';
import {
  cli,
  fixture,
  pointAt,
  runNode,
  Supervised,
  type SupervisedOptions,
  until,
  withFolder,
  withService,
} from './supervised.js';

const times = ['--ready-after', '300ms', '--probation', '1500ms', '--drain-timeout', '3s'];
const exclusive = ['--changeover', 'exclusive', ...times];

interface Around {
  readonly options: SupervisedOptions;
  /** Where releases lie, and a link to the one that is deployed. */
  readonly folder: string;
  /** Deploys a release that fails in this way, or one that is well. */
  deploys(release: string, how?: string): Promise<void>;
  /** The lines that were written. */
  lines(): Promise<string[]>;
  /** Whose lines stand in the file, one after another. */
  turns(): Promise<number[]>;
}

async function withWorker(
  options: Partial<SupervisedOptions>,
  test: (around: Around & { readonly service: Supervised }) => Promise<void>,
): Promise<void> {
  await withFiles(options, (around) =>
    withService(around.options, (service) => test({ service, ...around })),
  );
}

async function withFiles(
  options: Partial<SupervisedOptions>,
  test: (around: Around) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const BEATS = path.join(folder, 'beats');
    await writeFile(BEATS, '');
    const link = path.join(folder, 'worker.cjs');
    const deploys = async (release: string, how?: string) => {
      const script = path.join(folder, `${release}.cjs`);
      await copyFile(fixture('works.cjs'), script);
      if (how !== undefined) await writeFile(`${script}.broken`, how);
      await pointAt(link, script);
    };
    await deploys('first');
    const all = { command: [link], runOptions: exclusive, ...options, env: { BEATS, ...options.env } };
    const lines = async () => (await readFile(BEATS, 'utf8')).split('\n').filter((line) => line !== '');
    const turns = async () => {
      const pids = (await lines()).map((line) => Number.parseInt(line, 10));
      return pids.filter((pid, i) => pid !== pids[i - 1]);
    };
    await test({ options: all, folder, deploys, lines, turns });
  });
}

/** Fails where one has worked, or only been started, while another was still there. */
function assertNeverTwo(turns: readonly number[]): void {
  assert.equal(new Set(turns).size, turns.length, `each has its turn once: ${turns.join()}`);
}

describe('a worker of which only one may run (--changeover exclusive)', () => {
  it('ends before its successor begins: at a restart, a crash, a broken release, and a rollback', async () => {
    await withWorker({ env: { END_MS: '400' } }, async ({ service, folder, turns, deploys }) => {
      const first = await service.current();
      await deploys('second');
      const summary = await service.restart('--wait=confirmed');
      assert.deepEqual([summary.predecessor, summary.generation], [1, 2]);
      const second = await service.current();
      assert.deepEqual(await turns(), [first.pid, second.pid]);
      process.kill(second.pid, 'SIGKILL');
      await service.logs(/generation 3 serves without a listener/);

      await deploys('broken', 'at once');
      const error = await service.failingRestart();
      assert.deepEqual([error.code, error.serving], ['MOULT_SUCCESSOR_EXITED', 'predecessor']);
      assert.match(error.message, /generation 5 was started instead, from the previous release/);
      assert.match(JSON.stringify(error.details), /this release is broken/);

      // They fail when they have been taken for ready, with a failure or as if they were done.
      for (const [how, generation] of [
        ['late', 7],
        ['done', 9],
      ] as const) {
        await deploys(how, how);
        assert.notEqual((await service.failingRestart('--wait=confirmed')).code, undefined);
        await service.logs(new RegExp(`generation ${generation} serves without a listener`));
        assert.equal((await service.current()).entry, path.join(folder, 'second.cjs'));
      }
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 0, stderr);
      assert.equal((await service.current()).entry, path.join(folder, 'first.cjs'));
      assertNeverTwo(await turns());
    });
  });

  it('takes its children with it, also such as do not heed the stop signal', async () => {
    await withWorker({ env: { CHILD: 'yes' } }, async ({ service, turns }) => {
      const { pid } = await service.current();
      await service.restart();
      await until('both of the next one work', async () => new Set(await turns()).size === 4);
      const order = await turns();
      // Those of the first generation come before those of the second.
      const own = new Set(order.slice(0, order.indexOf((await service.current()).pid)));
      assert.ok(own.has(pid));
      assert.ok(order.slice(order.indexOf((await service.current()).pid)).every((one) => !own.has(one)));
    });
  });

  it('runs alone although the supervisor is killed in the middle of the change, and is restarted then', async () => {
    await withFiles({ env: { END_MS: '1200' } }, async ({ options, lines, turns }) => {
      const service = await Supervised.start(options);
      const { pid } = await service.current();
      const restart = service.moult('restart', service.name);
      await until('the first is about to end', async () => (await lines()).includes(`${pid} ends`));
      process.kill(service.pid, 'SIGKILL');
      assert.equal((await restart).code, 1);
      const { runtimeFolder } = service;
      const next = await Supervised.start({ ...options, runtimeFolder, waits: false });
      try {
        await next.logs(/generation \d+ serves without a listener/);
        assert.notEqual((await next.current()).pid, pid);
        await next.restart();
        assertNeverTwo(await turns());
        assert.equal((await turns()).length, 3);
      } finally {
        await next.stop();
      }
    });
  });

  it('may be of another language, and run in slots', async () => {
    await withFolder(async (folder) => {
      const script = path.join(folder, 'worker.py');
      const text = `#!/usr/bin/python3
import os, signal, time
def beat(what):
    with open(os.environ['BEATS'], 'a') as file: file.write(f'{os.getpid()} {what}\\n')
ends = []
signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
beat('starts')
while not ends:
    beat('works')
    time.sleep(0.02)
for _ in range(10):
    beat('finishes')
    time.sleep(0.02)
`;
      await writeFile(script, text);
      await chmod(script, 0o755);
      const program = { command: [script], runOptions: [...exclusive, '--program'] };
      await withWorker(program, async ({ service, turns }) => {
        const first = await service.current();
        await until('it works', async () => (await turns()).includes(first.pid));
        await service.restart('--wait=confirmed');
        const { pid } = await service.current();
        await until('it works', async () => (await turns()).includes(pid));
        process.kill(pid, 'SIGKILL');
        await service.logs(/generation 3 serves without a listener/);
        const third = await service.current();
        await until('the third works', async () => (await turns()).includes(third.pid));
        assertNeverTwo(await turns());
      });
    });
    await withWorker({ runOptions: [...exclusive, '--slots', '2'] }, async ({ service }) => {
      const before = await whenAllServe(service, 2);
      assert.equal((await service.restart()).slots?.length, 2);
      const after = await whenAllServe(service, 2);
      assert.ok(after.every(({ pid }) => before.every((one) => one.pid !== pid)));
      assert.equal((await service.moult('scale', '1', service.name)).code, 0);
      assert.equal((await service.moult('scale', '2', service.name)).code, 0);
      await whenAllServe(service, 2);
    });
  });

  it('keeps the port that it opened late: its clients wait while nobody runs', async () => {
    const [port = 0] = await freePorts(1);
    await withFolder(async (folder) => {
      const PORT_FILE = path.join(folder, 'opens');
      await writeFile(PORT_FILE, '');
      const env = { PORT: String(port), PORT_FILE, END_MS: '300' };
      await withWorker({ env }, async ({ service, turns }) => {
        await until('it listens', async () => (await service.current()).listeners?.length === 1);
        const target = { host: '127.0.0.1', port };
        let isOver = false;
        const asked = (async () => {
          let answers = 0;
          for (; !isOver; answers += 1) await askOnce(target);
          return answers;
        })();
        await service.restart('--wait=confirmed');
        isOver = true;
        assert.ok((await asked) > 0);
        assertNeverTwo(await turns());
      });
    });
  });

  it('is not taken over by another supervisor, nor given sockets: both need two at once', async () => {
    for (const [option, value] of [
      ['--listen', '8080'],
      ['--take-over', '/tmp/none'],
    ] as const) {
      const args = [cli, 'run', '--changeover', 'exclusive', option, value, fixture('works.cjs')];
      const { code, stderr } = await runNode(args, process.env);
      assert.equal(code, 2, stderr);
      assert.match(stderr, /--changeover exclusive and --(listen|take-over) cannot be combined/);
    }
  });
});

describe('a worker of which one must always run (--changeover overlap)', () => {
  it('works until its successor has proved itself, and on where that fails', async () => {
    await withWorker({ runOptions: times }, async ({ service, turns, deploys }) => {
      const { pid } = await service.current();
      await service.restart();
      const { pid: next } = await service.current();
      // They take turns line by line as long as both work.
      await until('both work', async () => (await turns()).filter((one) => one === pid).length > 2);
      await service.alone();
      // The last line of the one that has ended may be newer than the last of the one that goes on.
      await until('it works alone', async () => (await turns()).at(-1) === next);
      await deploys('broken', 'at once');
      assert.equal((await service.failingRestart()).serving, 'predecessor');
      assert.equal((await service.current()).pid, next);
    });
  });
});
