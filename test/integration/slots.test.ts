import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { GenerationStatus } from '#moult/supervisor/status.js';
import type { Load } from '#moult/verify/load.js';
import type { ClientKind } from '#moult/verify/tally/client-kind.js';
import { eventOf } from '../support/events.js';
import { portOf, serving, whenAllServe } from './slots-of.js';
import { nothingLost, strictLoad } from './strict-load.js';
import { fixture, pointAt, Supervised, until, withFolder, withService } from './supervised.js';

async function loadOn(
  service: Supervised,
  clients?: Readonly<Partial<Record<ClientKind, number>>>,
): Promise<Load> {
  return strictLoad({ host: '127.0.0.1', port: await portOf(service) }, clients);
}

const plain = { command: [fixture('http.cjs')], runOptions: ['--slots', '3'] };

describe('a service in slots', () => {
  it('is replaced slot by slot, and loses nothing', async () => {
    await withService(plain, async (service) => {
      const before = await whenAllServe(service, 3);
      const load = await loadOn(service);
      const summary = await service.restart();
      assert.deepEqual(
        summary.slots?.map(({ slot, predecessor }) => ({ slot, predecessor })),
        before.map(({ slot, generation }) => ({ slot, predecessor: generation })),
      );
      await service.restart('--surge', '2');
      await nothingLost(load);
      const history = JSON.parse((await service.moult('history', service.name, '--json')).stdout) as object[];
      assert.equal(history.length, 6);
    });
  });

  it('grows and shrinks under load, and loses nothing', async () => {
    await withService({ ...plain, runOptions: ['--slots', '1'] }, async (service) => {
      const load = await loadOn(service);
      const grown = await service.moult('scale', '4', service.name, '--json');
      assert.deepEqual(JSON.parse(grown.stdout), { type: 'result', ok: true, slots: 4, were: 1 });
      await whenAllServe(service, 4);
      assert.equal((await service.moult('scale', '2', service.name)).code, 0);
      const left = await whenAllServe(service, 2);
      assert.deepEqual(
        left.map(({ slot }) => slot),
        [0, 1],
      );
      await nothingLost(load);
    });
  });

  it('has the connections of a slot that ends in those that remain', async () => {
    await withService({ ...plain, runOptions: ['--slots', '2'] }, async (service) => {
      await whenAllServe(service, 2);
      const load = await loadOn(service);
      await until('both slots have clients', async () =>
        (await serving(service)).every(({ connections = 0 }) => connections > 0),
      );
      const { redials: before } = load.snapshot().total;
      assert.equal((await service.moult('scale', '1', service.name)).code, 0);
      const { redials, toldToClose } = load.snapshot().total;
      assert.deepEqual({ redials: redials - before, toldToClose }, { redials: 0, toldToClose: 0 });
      await nothingLost(load);
    });
  });

  it('evens its connections out, also with slots that are new', async () => {
    await withService({ ...plain, runOptions: ['--slots', '1'] }, async (service) => {
      await whenAllServe(service, 1);
      const load = await loadOn(service, { 'kept-alive': 30 });
      await until('all are connected', async () => (await serving(service))[0]?.connections === 30);
      assert.equal((await service.moult('scale', '3', service.name)).code, 0);
      await until('each slot has a third', async () => {
        const counts = (await serving(service)).map(({ connections = 0 }) => connections);
        return counts.length === 3 && Math.min(...counts) >= 8 && Math.max(...counts) <= 12;
      });
      await nothingLost(load);
    });
  });

  it('goes back where one slot refuses the release, or keeps what it has if asked', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      const broken = path.join(folder, 'broken.mjs');
      // It is good in slot 0, where a roll begins.
      await writeFile(
        broken,
        `process.env.RELEASE = 'broken';\nif (process.env.MOULT_SLOT === '1') throw new Error('not in slot 1');\nawait import(${JSON.stringify(fixture('http.cjs'))});\n`,
      );
      await pointAt(link, fixture('http.cjs'));
      await withService({ ...plain, command: [link] }, async (service) => {
        const before = await whenAllServe(service, 3);
        const load = await loadOn(service);
        await pointAt(link, broken);
        const error = await service.failingRestart();
        assert.equal(error.code, 'MOULT_SUCCESSOR_EXITED');
        assert.match(error.message, /^slot 1: /);
        assert.deepEqual(error.details?.slots, [
          { slot: 1, result: 'failed' },
          { slot: 0, result: 'undone' },
          { slot: 2, result: 'unchanged' },
        ]);
        const numbers = (all: readonly GenerationStatus[]) => all.map(({ generation }) => generation);
        assert.deepEqual(numbers(await whenAllServe(service, 3)), numbers(before), 'the predecessors serve');
        const kept = await service.failingRestart('--on-failure', 'keep');
        assert.equal(kept.serving, 'both');
        assert.deepEqual(kept.details?.slots, [
          { slot: 1, result: 'failed' },
          { slot: 0, result: 'kept' },
          { slot: 2, result: 'unchanged' },
        ]);
        const [first, ...others] = await whenAllServe(service, 3);
        assert.notEqual(first?.generation, before[0]?.generation);
        assert.deepEqual(numbers(others), numbers(before.slice(1)));
        assert.equal((await service.moult('rollback', service.name)).code, 0);
        assert.deepEqual(numbers(await whenAllServe(service, 3)), numbers(before), 'slot 0 resumed');
        await nothingLost(load);
      });
    });
  });

  it('goes back in all slots where one fails in its probation', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      const fail = path.join(folder, 'fail');
      const broken = path.join(folder, 'broken.mjs');
      await writeFile(
        broken,
        `await import(${JSON.stringify(fixture('http.cjs'))});
        const isBad = () => process.env.MOULT_SLOT === '2' && process.getBuiltinModule('node:fs').existsSync(${JSON.stringify(fail)});
        setInterval(() => isBad() && process.exit(7), 20);`,
      );
      await pointAt(link, fixture('http.cjs'));
      await withService({ ...plain, command: [link] }, async (service) => {
        const before = (await whenAllServe(service, 3)).map(({ generation }) => generation);
        await pointAt(link, broken);
        await service.restart('--surge', '2');
        await writeFile(fail, '');
        await until('the predecessors serve in every slot', async () => {
          const now = (await serving(service)).map(({ generation }) => generation);
          return now.join() === before.join();
        });
      });
    });
  });

  it('stops a roll, and goes back in all slots, where one fails in its probation before all are replaced', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      const broken = path.join(folder, 'broken.mjs');
      const [fail, go] = [path.join(folder, 'fail'), path.join(folder, 'go')];
      await writeFile(
        broken,
        `import { existsSync } from 'node:fs';
        while (process.env.MOULT_SLOT === '2' && !existsSync(${JSON.stringify(go)})) await new Promise((then) => setTimeout(then, 20));
        await import(${JSON.stringify(fixture('http.cjs'))});
        const isBad = () => process.env.MOULT_SLOT === '0' && existsSync(${JSON.stringify(fail)});
        setInterval(() => isBad() && process.exit(7), 20);`,
      );
      await pointAt(link, fixture('http.cjs'));
      const runOptions = [...plain.runOptions, '--probation', '60s'];
      await withService({ command: [link], runOptions }, async (service) => {
        const numbers = async () => (await serving(service)).map(({ generation }) => generation);
        const before = (await whenAllServe(service, 3)).map(({ generation }) => generation);
        await pointAt(link, broken);
        const failing = service.failingRestart();
        await service.logs(new RegExp(`took over from ${before[1]} `));
        await writeFile(fail, '');
        await service.logs(new RegExp(`was undone .*; generation ${before[0]} serves again`));
        await writeFile(go, '');
        const error = await failing;
        assert.match(error.message, /^slot 0: /);
        assert.deepEqual(error.details?.slots, [
          { slot: 0, result: 'failed' },
          { slot: 1, result: 'undone' },
          { slot: 2, result: 'undone' },
        ]);
        assert.deepEqual(await numbers(), before);
      });
    });
  });

  it('rolls a release that listens on one more port, in every slot', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      const more = path.join(folder, 'more.mjs');
      await writeFile(
        more,
        `await import(${JSON.stringify(fixture('http.cjs'))});\n(await import('node:http')).createServer((q, r) => r.end('more')).listen(0, '127.0.0.1', 1);\n`,
      );
      await pointAt(link, fixture('http.cjs'));
      await withService({ ...plain, command: [link] }, async (service) => {
        await whenAllServe(service, 3);
        const load = await loadOn(service);
        await pointAt(link, more);
        await service.restart();
        const ports = (await whenAllServe(service, 3)).map(({ listeners = [] }) =>
          listeners.map(({ address }) => address.port),
        );
        assert.equal(ports[0]?.length, 2);
        assert.deepEqual(ports, [ports[0], ports[0], ports[0]], 'all slots share both');
        // And one fewer again: the port is open as long as a slot has it.
        await pointAt(link, fixture('http.cjs'));
        await service.restart('--allow-fewer-listeners');
        await nothingLost(load);
      });
    });
  });

  it('shares a Unix path, which is there until the service stops', async () => {
    await withFolder(async (folder) => {
      const socketPath = path.join(folder, 'app.sock');
      const script = path.join(folder, 'unix.mjs');
      await writeFile(
        script,
        `import http from 'node:http';\nimport { createRequire } from 'node:module';\nconst { echo } = createRequire(${JSON.stringify(fixture('http.cjs'))})('./echo.cjs');\nhttp.createServer(echo).listen(${JSON.stringify(socketPath)});\n`,
      );
      await withService({ ...plain, command: [script] }, async (service) => {
        await whenAllServe(service, 3);
        const load = strictLoad({ socketPath });
        await until('it answers', () => load.snapshot().total.answered > 50);
        await service.restart('--surge', '2');
        assert.equal((await service.moult('scale', '1', service.name)).code, 0);
        await nothingLost(load);
      });
      assert.equal(existsSync(socketPath), false, 'the path is removed');
    });
  });

  it('is not said to be rolled back while clients find something else at its path', async () => {
    await withFolder(async (folder) => {
      const socketPath = path.join(folder, 'app.sock');
      const script = path.join(folder, 'unix.cjs');
      await writeFile(
        script,
        `require('node:http').createServer((_, response) => response.end('here')).listen(${JSON.stringify(socketPath)});`,
      );
      const runOptions = ['--slots', '2', '--probation', '60s', '--drain-timeout', '1s'];
      await withService({ ...plain, command: [script], runOptions }, async (service) => {
        await whenAllServe(service, 2);
        await service.restart();
        const other = createServer().listen(`${socketPath}.other`);
        await eventOf(other, 'listening');
        await rename(`${socketPath}.other`, socketPath);
        const { code, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /something else is at .*app\.sock/);
        await new Promise((resolve) => other.close(resolve));
      });
    });
  });

  it('keeps a port open for the others when one slot closes it', async () => {
    await withFolder(async (folder) => {
      const script = path.join(folder, 'closes.mjs');
      await writeFile(
        script,
        `import http from 'node:http';\nimport { createRequire } from 'node:module';\nconst { echo } = createRequire(${JSON.stringify(fixture('http.cjs'))})('./echo.cjs');\nconst server = http.createServer(echo).listen(0, '127.0.0.1');\nconst stays = setInterval(() => {}, 60_000);\nprocess.on('SIGUSR2', () => server.close(() => console.log('closed here')));\nprocess.on('SIGTERM', () => process.exit(0));\n`,
      );
      await withService({ ...plain, command: [script] }, async (service) => {
        const [, second] = await whenAllServe(service, 3);
        assert.ok(second);
        // Only new connections: those that the slot has end with its server.
        const load = await loadOn(service, { 'new-connection': 8 });
        await until('it answers', () => load.snapshot().total.answered > 50);
        process.kill(second.pid, 'SIGUSR2');
        await service.writes(/closed here/);
        await nothingLost(load);
      });
    });
  });

  it('is served by the other slots while one starts again after a crash', async () => {
    await withService(plain, async (service) => {
      const [, second] = await whenAllServe(service, 3);
      assert.ok(second);
      process.kill(second.pid, 'SIGKILL');
      await service.logs(/generation 2 was ended by SIGKILL|generation 2 .*SIGKILL/);
      const now = await whenAllServe(service, 3);
      assert.equal(now[1]?.slot, 1);
      assert.notEqual(now[1]?.generation, second.generation);
      assert.equal((await service.status()).crashes, 1);
    });
  });

  it('is adopted with all its slots by the next supervisor, also as many as it was scaled to', async () => {
    await withFolder(async (runtimeFolder) => {
      const first = await Supervised.start({ ...plain, runtimeFolder });
      const before = await whenAllServe(first, 3);
      assert.equal((await first.moult('scale', '2', first.name)).code, 0);
      const load = await loadOn(first);
      const gone = once(first.process, 'exit');
      process.kill(first.pid, 'SIGKILL');
      await gone;
      await withService({ ...plain, runtimeFolder }, async (service) => {
        const now = await whenAllServe(service, 2);
        assert.deepEqual(
          now.map(({ pid }) => pid),
          before.slice(0, 2).map(({ pid }) => pid),
        );
        await service.restart();
        await nothingLost(load);
      });
      await first.kill();
    });
  });

  it('goes on through an upgrade of its supervisor', async () => {
    await withService(plain, async (service) => {
      const before = await whenAllServe(service, 3);
      const load = await loadOn(service);
      assert.equal((await service.moult('upgrade', service.name)).code, 0);
      await until('the slots have come back', async () => {
        const now = await service.status().catch(() => undefined);
        return now?.state === 'serving' && now.generations.length === 3;
      });
      assert.deepEqual(
        (await serving(service)).map(({ pid }) => pid),
        before.map(({ pid }) => pid),
      );
      await service.restart();
      await nothingLost(load);
    });
  });

  it('refuses what it cannot do, with the reason', async () => {
    await withService({ ...plain, runOptions: [] }, async (service) => {
      const { code, stderr } = await service.moult('scale', '2', service.name);
      assert.equal(code, 2);
      assert.match(stderr, /started without slots/);
    });
    const both = await Supervised.start({
      ...plain,
      runOptions: ['--slots', '2', '--take-over', '/nowhere'],
      waits: false,
    });
    assert.equal(await both.ended, 2);
    assert.match(both.stderr, /--slots and --take-over cannot be combined/);
    await both.kill();
  });
});
