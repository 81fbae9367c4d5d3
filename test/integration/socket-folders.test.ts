import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PACE } from '../support/pace.js';
import { askOnce } from './raw-client.js';
import { type Supervised, until, withFolder, withService } from './supervised.js';

const quick = [
  '--probation',
  '300ms',
  '--ready-timeout',
  '8s',
  '--stop-timeout',
  '2s',
  '--drain-timeout',
  '2s',
];

/** How services make room for their socket: in the folder of it, or the one above. */
const WAYS = {
  'at once': `
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder);
    listen();`,
  'with callbacks': `
    fs.rm(folder, { recursive: true, force: true }, (error) => {
      if (error) throw error;
      fs.mkdir(folder, (failed) => { if (failed) throw failed; listen(); });
    });`,
  'file by file': `
    for (const name of fs.readdirSync(folder)) fs.unlinkSync(path.join(folder, name));
    fs.rmdirSync(folder);
    fs.mkdirSync(folder);
    listen();`,
  'with promises, and the folder above': `
    (async () => {
      await fs.promises.rm(path.dirname(folder), { recursive: true, force: true });
      await fs.promises.mkdir(folder, { recursive: true });
      listen();
    })();`,
} as const;

const service = (way: string) => `
  const fs = require('node:fs');
  const path = require('node:path');
  const socket = process.env.SOCK;
  const folder = path.dirname(socket);
  const listen = () => {
    fs.writeFileSync(path.join(folder, 'left'), String(process.pid));
    require('node:http')
      .createServer((_, response) => response.end(JSON.stringify({ generation: process.pid })))
      .listen(socket);
  };
  ${way}`;

/** Asks all the time while something is done. @returns what failed. */
async function failuresWhile(socketPath: string, work: () => Promise<void>): Promise<string[]> {
  const failed: string[] = [];
  let isOver = false;
  const client = (async () => {
    while (!isOver) {
      await askOnce({ socketPath }).catch((error: Error) => failed.push(error.message));
      await pause(PACE);
    }
  })();
  await work().finally(() => {
    isOver = true;
  });
  await client;
  return failed;
}

async function crashed(running: Supervised): Promise<void> {
  const { pid, generation } = await running.current();
  process.kill(pid, 'SIGKILL');
  await running.logs(new RegExp(`generation ${generation + 1} serves`));
}

describe('a service that removes the folder of its Unix socket before it listens', () => {
  for (const [what, way] of Object.entries(WAYS)) {
    it(`is found over restarts and a crash: ${what}`, async () => {
      await withFolder(async (folder) => {
        const socket = path.join(folder, 'run', 'sockets', 'app.sock');
        await mkdir(path.dirname(socket), { recursive: true });
        const script = path.join(folder, 'service.cjs');
        await writeFile(script, service(way));
        await withService(
          { command: [script], env: { SOCK: socket }, runOptions: quick },
          async (running) => {
            await writeFile(path.join(path.dirname(socket), 'stale'), '');
            const failed = await failuresWhile(socket, async () => {
              for (let n = 0; n < 2; n += 1) await running.restart('--wait=confirmed');
            });
            assert.deepEqual(failed, []);
            assert.equal(existsSync(path.join(path.dirname(socket), 'stale')), false, 'all else is removed');
            await crashed(running);
            await until('clients are answered', () =>
              askOnce({ socketPath: socket }).then(
                () => true,
                () => false,
              ),
            );
            await running.restart('--wait=confirmed');
          },
        );
      });
    });
  }

  it('removes of a link the link alone, and a folder with the sockets of others whole', async () => {
    await withFolder(async (folder) => {
      const socket = path.join(folder, 'run', 'app.sock');
      const [link, other] = [path.join(folder, 'link'), path.join(folder, 'other')];
      await mkdir(path.dirname(socket));
      await writeFile(path.join(path.dirname(socket), 'precious'), '');
      const script = path.join(folder, 'service.cjs');
      await writeFile(
        script,
        service(`
          fs.rmSync(process.env.LINK, { recursive: true, force: true });
          fs.rmSync(process.env.OTHER, { recursive: true, force: true });
          listen();`),
      );
      const env = { SOCK: socket, LINK: link, OTHER: other };
      await withService({ command: [script], env, runOptions: quick }, async (running) => {
        await symlink(path.dirname(socket), link);
        await mkdir(other);
        const foreign = createServer().listen(path.join(other, 'foreign.sock'));
        await once(foreign, 'listening');
        await running.restart('--wait=confirmed');
        foreign.close();
        assert.deepEqual([existsSync(link), existsSync(other)], [false, false]);
        assert.ok(existsSync(path.join(path.dirname(socket), 'precious')));
        await askOnce({ socketPath: socket });
      });
    });
  });
});
