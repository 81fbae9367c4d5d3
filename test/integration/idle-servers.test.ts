import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePorts } from '../support/free-ports.js';
import { askOnce } from './raw-client.js';
import { withFolder, withService } from './supervised.js';

const quick = ['--probation', '300ms', '--ready-timeout', '10s'];

/** Some services let nobody else start by listening where nobody needs an answer. */
const LOCK = "require('node:net').createServer().listen(process.env.LOCK, '127.0.0.1');";
const HTTP =
  "require('node:http').createServer((_, response) => response.end(JSON.stringify({ generation: process.pid }))).listen(process.env.PORT, '127.0.0.1');";

async function accepts(port: number): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  socket.destroy();
}

describe('a service that has a server to which nobody listens', () => {
  for (const [what, text] of [
    ['beside its own', `${LOCK} ${HTTP}`],
    ['before its own', `${LOCK} setTimeout(() => { ${HTTP} }, 300);`],
  ] as const) {
    it(`serves and is restarted with it, ${what}`, async () => {
      await withFolder(async (folder) => {
        const [port = 0, lock = 0] = await freePorts(2);
        const script = path.join(folder, 'service.cjs');
        await writeFile(script, text);
        const env = { PORT: String(port), LOCK: String(lock) };
        await withService({ command: [script], env, runOptions: quick }, async (service) => {
          const target = { host: '127.0.0.1', port };
          const before = await askOnce(target);
          await accepts(lock);
          const { listeners } = await service.restart('--wait=confirmed');
          assert.equal(listeners, 2);
          assert.notEqual(await askOnce(target), before);
          await accepts(lock);
        });
      });
    });
  }

  it('serves and is restarted where it has nothing else', async () => {
    await withFolder(async (folder) => {
      const [lock = 0] = await freePorts(1);
      const script = path.join(folder, 'service.cjs');
      await writeFile(script, LOCK);
      const env = { LOCK: String(lock) };
      await withService({ command: [script], env, runOptions: quick }, async (service) => {
        const { pid } = await service.current();
        await service.restart('--wait=confirmed');
        assert.notEqual((await service.current()).pid, pid);
        await accepts(lock);
      });
    });
  });
});
