// Of several processes of a service that listen one ends for good: all serve again, or the operator is told, and no handover
// says more than clients find.
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePorts } from '../support/free-ports.js';
import { askOnce } from './raw-client.js';
import { Supervised, until, withFolder, withService } from './supervised.js';

const HOST = '127.0.0.1';
/** Shorter than a look from outside may take. */
const SHORT = ['--probation', '500ms', '--drain-timeout', '500ms', '--stop-timeout', '500ms'];

/** Listens on the port that it is told, and says which process it is. With a file `bad` it throws at its first connection, or exits. */
const SERVER = `
  const { existsSync, readFileSync } = require('node:fs');
  const server = require('node:http').createServer((_, response) => response.end(JSON.stringify({ generation: String(process.pid) })));
  const bad = existsSync(__dirname + '/bad') && readFileSync(__dirname + '/bad', 'utf8');
  if (bad !== false) server.on('connection', () => {
    if (bad === '') throw new Error('bad release');
    process.exit(0);
  });
  server.listen(Number(process.argv[2]), '${HOST}');`;

/** One of those that a shell starts, and which is never bad. */
const FIRST = SERVER.replace('/bad', '/never');

/**
 * A service that forks the other one, and does not start it again. It listens first: a look from outside is kept from the first
 * process that listens, which may be bad without being found.
 */
const FORKS = `
  ${FIRST}
  let helper;
  server.on('listening', () => {
    helper = require('node:child_process').fork(__dirname + '/server.cjs', [process.argv[3]]);
  });
  process.on('SIGTERM', () => { helper.kill(); process.exit(); });`;

/** A service that keeps the other one running. */
const KEEPS = `
  ${FIRST}
  let helper;
  const keep = () => {
    helper = require('node:child_process').fork(__dirname + '/server.cjs', [process.argv[3]]);
    helper.on('exit', keep);
  };
  server.on('listening', keep);
  process.on('SIGTERM', () => { helper.off('exit', keep); helper.kill(); process.exit(); });`;

const LAUNCHER = `
  const service = require('node:child_process').spawn(process.execPath, [__dirname + '/server.cjs', process.argv[2]],
    { stdio: 'inherit' });
  process.on('SIGTERM', () => service.kill());
  service.on('exit', (code) => process.exit(code ?? 1));`;

/** A launcher that does not listen, and leaves it at that when one of its two services ends. */
const MANAGER = `
  const start = (port) => require('node:child_process').spawn(process.execPath, [__dirname + '/server.cjs', port], { stdio: 'inherit' });
  const [one, other] = process.argv.slice(2).map(start);
  process.on('SIGTERM', () => { one.kill(); other.kill(); });`;

const files = {
  'server.cjs': SERVER,
  'first.cjs': FIRST,
  'forks.cjs': FORKS,
  'keeps.cjs': KEEPS,
  'launcher.cjs': LAUNCHER,
  'manager.cjs': MANAGER,
};

type Ports = readonly [number, number];

const shells: Record<string, (ports: Ports) => string> = {
  'a shell that waits for both': ([a, b]) => `node first.cjs ${a} & node server.cjs ${b} & wait`,
  'a shell that becomes one of them': ([a, b]) => `(cd . && node server.cjs ${b}) & exec node first.cjs ${a}`,
};

async function inFolder(test: (folder: string, ports: Ports) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
    const [a = 0, b = 0] = await freePorts(2);
    await test(folder, [a, b]);
  });
}

const whoAnswers = (port: number) => askOnce({ host: HOST, port });

/** Who answers at both, once somebody does. */
async function both(ports: Ports): Promise<string[]> {
  return until('both ports answer', () => Promise.all(ports.map(whoAnswers)).catch(() => undefined));
}

describe('a process of a service that ends for good', () => {
  for (const [what, script] of Object.entries(shells)) {
    it(`has all started again where it is one of two below ${what}`, async () => {
      await inFolder(async (folder, ports) => {
        const command = ['sh', '-c', script(ports)];
        await withService({ command, cwd: folder, runOptions: SHORT }, async (service) => {
          for (const killed of [1, 0]) {
            const before = await both(ports);
            process.kill(Number(before[killed]), 'SIGKILL');
            await until('both are others', async () => {
              const now = await Promise.all(ports.map((port) => whoAnswers(port).catch(() => '')));
              return now.every((pid) => pid !== '' && !before.includes(pid));
            });
          }
          assert.ok((await service.status()).crashes >= 1);
          const before = await both(ports);
          await service.restart();
          const after = await both(ports);
          assert.ok(after.every((pid) => !before.includes(pid)));
        });
      });
    });
  }

  it('is told of where it is a helper, whose port the next release has again, and a rollback too', async () => {
    await inFolder(async (folder, ports) => {
      const command = ['node', 'forks.cjs', ...ports.map(String)];
      await withService({ command, cwd: folder, runOptions: SHORT }, async (service) => {
        const [first, helper] = await both(ports);
        process.kill(Number(helper), 'SIGKILL');
        const told = await service.logs(/has exited, and no other process has come to listen there/);
        assert.match(told, new RegExp(`process ${helper} of generation 1, .*tcp://${HOST}:${ports[1]}`));
        assert.match(told, /clients are refused there until the next restart/);
        assert.equal(await whoAnswers(ports[0]), first);
        await service.restart('--wait=confirmed');
        await both(ports);
        assert.equal((await service.moult('rollback', service.name)).code, 0);
        const back = await both(ports);
        await service.alone();
        assert.deepEqual(await both(ports), back);
      });
    });
  });

  it('is told of where a launcher in Node has ended it, and what else that has started serves on', async () => {
    await inFolder(async (folder, ports) => {
      const command = ['node', 'manager.cjs', ...ports.map(String)];
      await withService({ command, cwd: folder, runOptions: SHORT }, async (service) => {
        const before = await both(ports);
        // Whichever listened first leads, and its end is that of all.
        const { pid } = await service.current();
        const killed = before.findIndex((one) => one !== String(pid));
        process.kill(Number(before[killed]), 'SIGTERM');
        await service.logs(
          new RegExp(`process ${before[killed]} of generation 1, .* clients are refused there`),
        );
        assert.equal(await whoAnswers(ports[1 - killed] ?? 0), String(pid));
        assert.equal((await service.status()).crashes, 0);
      });
    });
  });

  it('fails the restart in whose probation it ends, and the predecessor is there to serve again', async () => {
    await inFolder(async (folder, ports) => {
      const command = ['node', 'forks.cjs', ...ports.map(String)];
      await withService({ command, cwd: folder, runOptions: SHORT }, async (service) => {
        const before = await both(ports);
        await writeFile(path.join(folder, 'bad'), '');
        const failure = await service.failingRestart('--wait=confirmed');
        assert.equal(failure.serving, 'predecessor', failure.message);
        assert.deepEqual(await both(ports), before);
        await rm(path.join(folder, 'bad'));
        await service.restart('--wait=confirmed');
        const after = await both(ports);
        assert.ok(after.every((pid) => !before.includes(pid)));
      });
    });
  });
});

describe('a process of a service that ends at each connection, and is started again', () => {
  for (const [how, bad] of [
    ['throws', ''],
    ['exits as if all were well', 'exit'],
  ] as const) {
    it(`is not taken for one that serves where it ${how}`, async () => {
      await inFolder(async (folder, ports) => {
        const command = ['node', 'keeps.cjs', ...ports.map(String)];
        await withService({ command, cwd: folder, runOptions: SHORT }, async (service) => {
          const before = await both(ports);
          await writeFile(path.join(folder, 'bad'), bad);
          for (const options of [[], ['--wait=confirmed']]) {
            const failure = await service.failingRestart(...options);
            assert.equal(failure.serving, 'predecessor', failure.message);
            assert.equal(failure.code, 'MOULT_NOT_REACHED', failure.message);
            assert.deepEqual(await both(ports), before);
          }
          await rm(path.join(folder, 'bad'));
          await service.restart('--wait=confirmed');
          const after = await both(ports);
          assert.ok(after.every((pid) => !before.includes(pid)));
        });
      });
    });
  }
});

describe('a launcher whose supervisor is killed before it has shown itself', () => {
  it('is not taken for the service that it has started', async () => {
    await inFolder(async (folder, [port]) => {
      const command = ['node', 'launcher.cjs', String(port)];
      const runOptions = [...SHORT, '--ready-after', '2s'];
      const options = { command, cwd: folder, runOptions };
      const service = await Supervised.start(options);
      try {
        const { pid } = await service.current();
        await service.killSupervisor();
        // So that the launcher is the first to come.
        process.kill(pid, 'SIGSTOP');
        const again = await Supervised.start({
          ...options,
          runtimeFolder: service.runtimeFolder,
          waits: false,
        });
        try {
          await again.logs(/left by .* moult keeps waiting for it/);
          process.kill(pid, 'SIGCONT');
          await again.logs(new RegExp(`generation 1 is adopted \\(process ${pid}\\)`));
          await again.restart();
          assert.notEqual(await whoAnswers(port), String(pid));
        } catch (error) {
          await Promise.all([service.kill(), again.kill()]);
          throw error;
        }
        await again.stop();
      } finally {
        await service.kill();
      }
    });
  });
});
