import assert from 'node:assert/strict';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { askOnce } from './raw-client.js';
import { whenAllServe } from './slots-of.js';
import { fixture, root, runNode, Supervised, until, withFolder, withService } from './supervised.js';

const runOptions = ['--ready-after', '300ms', '--probation', '300ms'];

interface Around {
  readonly service: Supervised;
  readonly folder: string;
  /** The processes that have done this, in order, each once. */
  whoHas(what: string): Promise<number[]>;
}

async function withWorker(
  options: { command?: readonly string[]; runOptions?: readonly string[]; env?: Record<string, string> },
  test: (around: Around) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const BEATS = path.join(folder, 'beats');
    await writeFile(BEATS, '');
    const whoHas = async (what: string) => {
      const lines = (await readFile(BEATS, 'utf8')).split('\n');
      return [
        ...new Set(lines.flatMap((line) => (line.endsWith(` ${what}`) ? [Number.parseInt(line, 10)] : []))),
      ];
    };
    const env = { BEATS, BROKEN_FILE: path.join(folder, 'broken'), ...options.env };
    const { command = [fixture('works.cjs')] } = options;
    const all = { command, env, runOptions: options.runOptions ?? runOptions };
    await withService(all, (service) => test({ service, folder, whoHas }));
  });
}

describe('a worker that listens on nothing', () => {
  it('is ready when it has lived for a while, which is said once, and is restarted, rolled back and started again', async () => {
    await withWorker({}, async ({ service, whoHas }) => {
      await service.logs(
        /generation 1 has opened no listener in \d+ ms: it counts as ready because it is running/,
      );
      const first = await service.current();
      await until('it works', async () => (await whoHas('works')).length > 0);
      assert.deepEqual(await whoHas('works'), [first.pid]);
      const summary = await service.restart('--wait', 'confirmed');
      assert.deepEqual({ ...summary, stages: [], tookMs: 0 }.listeners, 0);
      const second = await until('the first has ended by its own handler', async () => {
        const ended = await whoHas('ends');
        return ended.includes(first.pid) && service.current();
      });
      assert.equal(second.generation, summary.generation);
      await service.alone();
      process.kill(second.pid, 'SIGKILL');
      await service.logs(/generation 3 serves without a listener/);
      assert.equal((await service.status()).crashes, 1);
      assert.equal(service.log().filter((line) => /has opened no listener/.test(line)).length, 1);
      assert.equal((await service.moult('restart', service.name)).code, 0);
      assert.equal((await service.moult('rollback', service.name)).code, 0);
    });
  });

  it('is left as it was by a release that ends at once, or within probation', async () => {
    await withWorker({ runOptions: [...runOptions.slice(0, 2), '--probation', '20s'] }, async (around) => {
      const { service, folder, whoHas } = around;
      await service.logs(/generation 1 serves/);
      const { pid } = await service.current();
      await writeFile(path.join(folder, 'broken'), '');
      const error = await service.failingRestart();
      assert.equal(error.code, 'MOULT_SUCCESSOR_EXITED');
      assert.match(JSON.stringify(error.details), /this release is broken/);
      assert.equal((await service.current()).pid, pid);
      await rm(path.join(folder, 'broken'));
      await service.restart();
      const second = await service.current();
      process.kill(second.pid, 'SIGKILL');
      await service.logs(/generation 3 was undone .*; generation 1 serves again/);
      assert.equal((await service.current()).pid, pid);
      // It has worked all the time.
      assert.deepEqual(await whoHas('ends'), []);
    });
  });

  it('ends moult run where its first start ends at once', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'broken'), '');
      const env = { BEATS: path.join(folder, 'beats'), BROKEN_FILE: path.join(folder, 'broken') };
      const service = await withoutStart(env);
      assert.equal(service.code, 1);
      assert.match(service.stderr, /before it was ready/);
    });
  });

  it('may open a port later, which then changes hands as any other', async () => {
    const PORT = String(await freePort());
    await withFolder(async (other) => {
      const PORT_FILE = path.join(other, 'opens');
      await withWorker({ env: { PORT, PORT_FILE } }, async ({ service }) => {
        await service.logs(/generation 1 serves without a listener/);
        await writeFile(PORT_FILE, '');
        const target = { host: '127.0.0.1', port: Number(PORT) };
        await until('it listens', async () => (await service.current()).listeners?.length === 1);
        await askOnce(target).catch(() => {});
        const { listeners } = await service.restart();
        assert.equal(listeners, 1);
        const { pid } = await service.current();
        process.kill(pid, 'SIGKILL');
        await until('the port is answered again', () =>
          askOnce(target).then(
            () => true,
            () => false,
          ),
        );
      });
    });
  });

  it('runs in slots', async () => {
    await withWorker({ runOptions: [...runOptions, '--slots', '2'] }, async ({ service, whoHas }) => {
      const before = await whenAllServe(service, 2);
      assert.equal((await service.restart()).slots?.length, 2);
      const after = await whenAllServe(service, 2);
      assert.ok(after.every(({ pid }) => before.every((one) => one.pid !== pid)));
      assert.equal((await service.moult('scale', '3', service.name)).code, 0);
      assert.ok((await whoHas('works')).length >= 5);
    });
  });

  it('may be a program in another language', async () => {
    await withFolder(async (folder) => {
      const script = path.join(folder, 'worker.sh');
      const lines = ['#!/bin/sh', 'trap "echo $$ ends >>"$BEATS"; exit 0" TERM'];
      lines.push('while :; do echo "$$ works" >>"$BEATS"; sleep 0.05; done');
      await writeFile(script, `${lines.join('\n')}\n`);
      await chmod(script, 0o755);
      const options = ['--program', '--probation', '300ms', '--ready-timeout', '1s'];
      await withWorker({ command: [script], runOptions: options }, async ({ service, whoHas }) => {
        await service.logs(/generation 1 serves without a listener/);
        const first = await service.current();
        await until('it works', async () => (await whoHas('works')).length > 0);
        assert.deepEqual(await whoHas('works'), [first.pid]);
        await service.restart('--wait', 'confirmed');
        const { pid } = await service.current();
        assert.notEqual(pid, first.pid);
        await until('the first has ended by its own handler', async () =>
          (await whoHas('ends')).includes(first.pid),
        );
        process.kill(pid, 'SIGKILL');
        await service.logs(/generation 3 serves without a listener/);
      });
    });
  });

  it('may be busy all the time, and be ready at once where that is said', async () => {
    const busy = ['--ready-after', '300ms', '--ready-timeout', '8s', '--probation', '300ms'];
    await withWorker({ env: { BUSY: 'yes' }, runOptions: busy }, async ({ service, whoHas }) => {
      await service.logs(/generation 1 serves without a listener/);
      await service.restart('--wait=confirmed');
      assert.equal((await whoHas('works')).length, 2);
    });
    await withWorker({ runOptions: ['--ready-after', '0', '--probation', '300ms'] }, async ({ service }) => {
      await service.logs(/generation 1 serves without a listener/);
      await service.restart('--wait=confirmed');
    });
  });

  it('is adopted where the supervisor is killed before it was ready', async () => {
    await withFolder(async (folder) => {
      const BEATS = path.join(folder, 'beats');
      await writeFile(BEATS, '');
      const options = {
        command: [fixture('works.cjs')],
        env: { BEATS },
        runOptions: ['--ready-after', '1500ms', '--probation', '300ms'],
        waits: false,
      };
      const first = await Supervised.start(options);
      const lines = async () => (await readFile(BEATS, 'utf8')).split('\n');
      await until('it works', async () => (await lines()).some((line) => line.endsWith('works')));
      process.kill(first.pid, 'SIGKILL');
      await first.ended;
      // It has come to its time meanwhile, and found nobody.
      const before = (await lines()).length;
      await until('it has worked on for a while', async () => (await lines()).length > before + 100);
      const next = await Supervised.start({ ...options, runtimeFolder: first.runtimeFolder });
      try {
        await next.logs(/generation 1 is adopted/);
        await next.restart();
        const started = (await lines()).filter((line) => line.endsWith(' starts'));
        assert.equal(started.length, 2);
      } finally {
        await next.stop();
      }
    });
  });

  it('is found below a wrapper', async () => {
    await withFolder(async (folder) => {
      const script = path.join(folder, 'start.sh');
      await writeFile(script, `#!/bin/sh\n"${process.execPath}" "${fixture('works.cjs')}"\n`);
      await chmod(script, 0o755);
      await withWorker({ command: [script] }, async ({ service, whoHas }) => {
        await service.logs(/generation 1 serves without a listener/);
        const first = await service.current();
        await until('it works', async () => (await whoHas('works')).length > 0);
        assert.deepEqual(await whoHas('works'), [first.pid]);
        await service.restart('--wait', 'confirmed');
        assert.notEqual((await service.current()).pid, first.pid);
        await service.alone();
      });
    });
  });
});

async function withoutStart(env: Record<string, string>): Promise<{ code: number | null; stderr: string }> {
  const command = [path.join(root, 'dist/cli/main.js'), 'run', '--name', 'worker', fixture('works.cjs')];
  const folder = path.dirname(env.BEATS ?? '');
  return runNode(command, { ...process.env, ...env, XDG_RUNTIME_DIR: folder });
}
