import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { freePorts } from '../support/free-ports.js';
import { PACE } from '../support/pace.js';
import { askOnce } from './raw-client.js';
import { type Supervised, until, withFolder, withService } from './supervised.js';

const host = '127.0.0.1';
const runOptions = ['--probation', '300ms', '--ready-timeout', '15s'];

/** Some services let nobody else start by listening where nobody needs an answer. */
const LOCK =
  "const lock = require('node:net').createServer().listen(/^\\d+$/.test(process.env.LOCK) ? { port: process.env.LOCK, host: '127.0.0.1' } : process.env.LOCK.replace('@', '\\0'));" +
  "lock.on('error', ({ code }) => { console.error('already running: ' + code); process.exit(7); });";
const HTTP =
  "require('node:http').createServer((_, response) => response.end(JSON.stringify({ generation: process.pid }))).listen(process.env.PORT, '127.0.0.1');";

async function accepts(lock: string): Promise<void> {
  const socket = /^\d+$/.test(lock)
    ? connect({ host, port: Number(lock) })
    : connect({ path: lock.replace('@', '\0') });
  await once(socket, 'connect');
  socket.destroy();
}

/** Who serves after it was killed. */
async function crashed(service: Supervised): Promise<number> {
  const { pid } = await service.current();
  process.kill(pid, 'SIGKILL');
  return until('it serves again', async () => {
    const { generations } = await service.status();
    const [one] = generations.filter(({ state }) => state === 'serving');
    return one !== undefined && one.pid !== pid && one.pid;
  });
}

async function withScript(
  text: string,
  test: (around: { script: string; folder: string; port: number; lockPort: number }) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const [port = 0, lockPort = 0] = await freePorts(2);
    const script = path.join(folder, 'service.cjs');
    await writeFile(script, text);
    await test({ script, folder, port, lockPort });
  });
}

describe('a service that has a server without a handler', () => {
  for (const [where, text] of [
    ['a port', `${LOCK} ${HTTP}`],
    ['a path, before its own', `${LOCK} setTimeout(() => { ${HTTP} }, 300);`],
    ['an abstract path, after its own', `${HTTP} setTimeout(() => { ${LOCK} }, 300);`],
  ] as const) {
    it(`serves, is restarted, and outlasts a crash with it, on ${where}`, async () => {
      await withScript(text, async ({ script, folder, port, lockPort }) => {
        const lock = where.startsWith('a port')
          ? String(lockPort)
          : where.startsWith('a path')
            ? path.join(folder, 'lock')
            : `@lock-${lockPort}`;
        const env = { PORT: String(port), LOCK: lock };
        await withService({ command: [script], env, runOptions }, async (service) => {
          const target = { host, port };
          const before = await askOnce(target);
          await until('it has the lock', () =>
            accepts(lock).then(
              () => true,
              () => false,
            ),
          );
          // Nobody else may run it.
          const { status, stderr } = spawnSync(process.execPath, [script], {
            env: { ...process.env, ...env, PORT: '0' },
            encoding: 'utf8',
          });
          assert.equal(status, 7, stderr);
          const { listeners } = await service.restart('--wait=confirmed');
          assert.equal(listeners, 2);
          const second = await askOnce(target);
          assert.notEqual(second, before);
          await accepts(lock);
          await service.alone();
          const third = await crashed(service);
          assert.equal(await askOnce(target), String(third));
          await accepts(lock);
        });
      });
    });
  }

  it('serves, is restarted, and outlasts a crash where it has nothing else', async () => {
    await withScript(LOCK, async ({ script, lockPort }) => {
      const env = { LOCK: String(lockPort) };
      await withService({ command: [script], env, runOptions }, async (service) => {
        const { pid } = await service.current();
        await service.restart('--wait=confirmed');
        assert.notEqual((await service.current()).pid, pid);
        await accepts(env.LOCK);
        await service.alone();
        await crashed(service);
        await accepts(env.LOCK);
      });
    });
  });
});

describe('a service whose server gets its handler late', () => {
  for (const [what, text] of [
    [
      'HTTP',
      "const server = require('node:http').createServer().listen(process.env.PORT, '127.0.0.1');" +
        "setTimeout(() => server.on('request', (_, response) => response.end(JSON.stringify({ generation: process.pid }))), 700);",
    ],
    [
      'bytes',
      "const server = require('node:net').createServer().listen(process.env.PORT, '127.0.0.1');" +
        'const answer = JSON.stringify({ generation: process.pid });' +
        "setTimeout(() => server.on('connection', (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\\r\\nContent-Length: ' + answer.length + '\\r\\n\\r\\n' + answer))), 700);",
    ],
  ] as const) {
    it(`serves from then on, over a restart and a crash: ${what}`, async () => {
      await withScript(text, async ({ script, port }) => {
        const env = { PORT: String(port) };
        await withService({ command: [script], env, runOptions }, async (service) => {
          const target = { host, port };
          const before = await askOnce(target);
          let isOver = false;
          const asked = (async () => {
            while (!isOver) {
              await askOnce(target);
              await pause(PACE);
            }
          })();
          await service.restart('--wait=confirmed');
          await service.alone();
          isOver = true;
          await asked;
          assert.notEqual(await askOnce(target), before);
          const { pid } = await service.current();
          process.kill(pid, 'SIGKILL');
          assert.notEqual(await askOnce(target), String(pid));
        });
      });
    });
  }

  it('is named where a release has none any more', async () => {
    const handled = "if (require('node:fs').existsSync(__dirname + '/without')) server.removeAllListeners();";
    const text = `const server = ${HTTP} ${handled}`;
    await withScript(text, async ({ script, folder, port }) => {
      const options = {
        command: [script],
        env: { PORT: String(port) },
        runOptions: [...runOptions, '--ready-timeout', '3s'],
      };
      await withService(options, async (service) => {
        const before = await askOnce({ host, port });
        await writeFile(path.join(folder, 'without'), '');
        const error = await service.failingRestart();
        assert.equal(error.code, 'MOULT_READY_TIMEOUT');
        assert.match(error.message, /has not listened on tcp:\S+ with a handler for its connections/);
        assert.equal(await askOnce({ host, port }), before);
      });
    });
  });
});
