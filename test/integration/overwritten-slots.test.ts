// A release that was written over while its slots serve: no other slot starts the new files as if they were the same release.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { serving, whenAllServe } from './slots-of.js';
import { Supervised, until, withFolder, withService } from './supervised.js';

const slots = (count: number) => ['--slots', String(count), '--probation', '1h'];

/** An app whose answer is in a part of it. */
function write(folder: string, answer: string, port: number): string {
  mkdirSync(path.join(folder, 'lib'), { recursive: true });
  const put = (name: string, text: string) => writeFileSync(path.join(folder, name), text);
  put('package.json', '{"name":"app"}');
  put('lib/part.cjs', `module.exports = ${JSON.stringify(answer)};`);
  put(
    'server.cjs',
    `const answer = require('./lib/part.cjs');
require('node:http').createServer((_, response) => response.end(answer)).listen(${port}, '127.0.0.1');`,
  );
  return path.join(folder, 'server.cjs');
}

async function answers(port: number): Promise<string[]> {
  const ask = async () =>
    (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })).text();
  return [...new Set(await Promise.all(Array.from({ length: 40 }, ask)))].sort();
}

describe('slots of a release that was written over', () => {
  it('become no more until a restart, which is said', async () => {
    await withFolder(async (folder) => {
      const port = await freePort();
      const app = path.join(folder, 'app');
      const command = [write(app, 'old', port)];
      await withService({ command, runOptions: slots(2) }, async (service) => {
        await whenAllServe(service, 2);
        // What it is known by stays the same.
        writeFileSync(path.join(app, 'lib/part.cjs'), "module.exports = 'new';");
        const { code, stderr } = await service.moult('scale', '4', service.name);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /lib\/part\.cjs[\s\S]*moult restart[\s\S]*MOULT_RELEASE_CHANGED/);
        assert.equal((await serving(service)).length, 2);
        assert.deepEqual(await answers(port), ['old']);
        // Fewer are no new ones.
        assert.equal((await service.moult('scale', '1', service.name)).code, 0);
        await service.restart();
        const grown = await service.moult('scale', '2', service.name);
        assert.equal(grown.code === 0 ? 0 : grown.stderr, 0);
        assert.deepEqual(await answers(port), ['new']);
      });
    });
  });

  it('become no more either where a crash has started the new files in one of them', async () => {
    await withFolder(async (folder) => {
      const port = await freePort();
      const script = write(path.join(folder, 'app'), 'old', port);
      await withService({ command: [script], runOptions: slots(2) }, async (service) => {
        const [first] = await whenAllServe(service, 2);
        write(path.join(folder, 'app'), 'new', port);
        process.kill(first?.pid ?? 0, 'SIGKILL');
        await service.logs(/is not the last good release/);
        await whenAllServe(service, 2);
        const { code, stderr } = await service.moult('scale', '3', service.name);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /MOULT_RELEASE_CHANGED/);
        assert.equal((await serving(service)).length, 2);
      });
    });
  });

  it('become more by the copy that is kept', async () => {
    await withFolder(async (folder) => {
      const port = await freePort();
      const app = path.join(folder, 'app');
      const command = [write(app, 'old', port)];
      const runOptions = [...slots(1), '--keep-releases', '2'];
      await withService({ command, runOptions }, async (service) => {
        await until('it is kept', () => readdirSync(folder).includes('.app.moult-service-1'));
        writeFileSync(path.join(app, 'lib/part.cjs'), "module.exports = 'new';");
        const { code, stderr } = await service.moult('scale', '3', service.name);
        assert.equal(code, 0, stderr);
        const all = await whenAllServe(service, 3);
        assert.equal(all.filter(({ entry }) => entry?.includes('.app.moult-service-1')).length, 2);
        assert.deepEqual(await answers(port), ['old']);
      });
    });
  });

  it('have to prove themselves where a supervisor that comes back starts one that is missing', async () => {
    await withFolder(async (folder) => {
      const port = await freePort();
      const app = path.join(folder, 'app');
      const command = write(app, 'old', port);
      const options = {
        command: [command],
        runOptions: slots(2),
        runtimeFolder: path.join(folder, 'run'),
      };
      const first = await Supervised.start(options);
      let second: Supervised | undefined;
      try {
        const [, gone] = await whenAllServe(first, 2);
        first.process.kill('SIGKILL');
        await until('it is dead', () => first.isOver);
        process.kill(gone?.pid ?? 0, 'SIGKILL');
        writeFileSync(
          command,
          "require('node:http').createServer((_, response) => response.end('new')).listen(" +
            port +
            ", '127.0.0.1');",
        );
        second = await Supervised.start(options);
        await second.logs(/is not the last good release: its files were changed since \(.*server\.cjs\)/);
        const [, started] = await whenAllServe(second, 2);
        await until('it is watched', async () =>
          (await second?.status())?.generations.some(
            ({ generation, watchedUntil }) =>
              generation === started?.generation && watchedUntil !== undefined,
          ),
        );
      } finally {
        second?.process.kill('SIGKILL');
        await first.kill();
        await second?.kill();
      }
    });
  });
});
