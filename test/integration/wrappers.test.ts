import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePorts } from '../support/free-ports.js';
import { RawClient } from './raw-client.js';
import { type Supervised, until, withFolder, withService } from './supervised.js';

const runOptions = ['--probation', '100ms', '--drain-timeout', '2s', '--stop-timeout', '5s'];

const SERVER = `
  const http = require('node:http');
  const server = http.createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end(String(process.pid)));
  server.listen(Number(process.env.PORT), '127.0.0.1');`;

/** Starts its script again, as forever does; or stays without it, as nodemon does. */
const KEEPER = `
  const { spawn } = require('node:child_process');
  const start = () => spawn(process.execPath, [__dirname + '/server.cjs'], { stdio: 'inherit' })
    .on('exit', () => process.argv[2] === 'again' ? setTimeout(start, 100) : console.log('WAITS'));
  setInterval(() => {}, 1000);
  start();`;

/** Stays whatever it is sent but SIGKILL. */
const STUBBORN = `
  for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => {});
  ${KEEPER}`;

const wrappers: Record<string, readonly string[]> = {
  'a shell loop': ['sh', '-c', 'while :; do node server.cjs; sleep 0.1; done'],
  'a shell that does something else afterwards': ['sh', '-c', 'node server.cjs; sleep 600'],
  'a keeper in Node that starts it again': ['node', 'keeper.cjs', 'again'],
  'a keeper in Node that waits for a change': ['keeper.cjs'],
  'a keeper that ends by nothing': ['stubborn.cjs', 'again'],
  'node --watch': ['node', '--watch', 'server.cjs'],
};

async function crashes(service: Supervised): Promise<void> {
  const target = await service.target();
  const first = await service.current();
  process.kill(first.pid, 'SIGKILL');
  const client = await RawClient.connect(target);
  // It waits in the backlog meanwhile.
  const next = (await client.get('/')).body.toString();
  client.close();
  assert.notEqual(next, String(first.pid));
  await until('it is known who serves', async () => (await service.current()).pid === Number(next));
}

describe('a service that ends below a wrapper that goes on', () => {
  for (const [what, command] of Object.entries(wrappers)) {
    it(`is started again, and can be restarted and stopped: ${what}`, async () => {
      await withFolder(async (folder) => {
        const files = { 'server.cjs': SERVER, 'keeper.cjs': KEEPER, 'stubborn.cjs': STUBBORN };
        for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
        const [port] = await freePorts(1);
        const options = { command, cwd: folder, runOptions, env: { PORT: String(port) } };
        await withService(options, async (service) => {
          await crashes(service);
          await crashes(service);
          const before = await service.current();
          await service.restart();
          assert.notEqual((await service.current()).pid, before.pid);
          await service.alone();
          assert.equal((await service.status()).crashes, 2);
          assert.doesNotMatch(service.output, /EADDRINUSE/);
        });
      });
    });
  }

  it('passes on how its service ended, where it does so soon', async () => {
    await withFolder(async (folder) => {
      await writeFile(
        path.join(folder, 'server.cjs'),
        `${SERVER} process.on('SIGUSR2', () => process.exit(0));`,
      );
      const command = ['sh', '-c', 'node server.cjs; code=$?; sleep 0.5; exit $code'];
      const options = {
        command,
        cwd: folder,
        env: { PORT: '0' },
        runOptions: [...runOptions, '--restart', 'on-failure'],
      };
      await withService(options, async (service) => {
        process.kill((await service.current()).pid, 'SIGUSR2');
        assert.equal(await service.ended, 0, service.output);
      });
    });
  });
});
