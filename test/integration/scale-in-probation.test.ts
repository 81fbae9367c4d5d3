// Slots that come while a release is in its probation have that release, and share what becomes of it.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { serving, whenAllServe } from './slots-of.js';
import { pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

interface Deployment {
  readonly service: Supervised;
  /** All that clients are answered. */
  answers(): Promise<string[]>;
}

/** Two slots whose new release has just been started, and is in its probation. */
async function deployed(probation: string, then: (one: Deployment) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const port = await freePort();
    for (const name of ['old', 'new']) {
      mkdirSync(path.join(folder, name));
      const text = `require('node:http').createServer((_, response) => response.end('${name}')).listen(${port}, '127.0.0.1');`;
      writeFileSync(path.join(folder, name, 'server.cjs'), text);
    }
    const current = path.join(folder, 'current');
    symlinkSync('old', current);
    const runOptions = ['--slots', '2', '--probation', probation];
    await withService({ command: [path.join(current, 'server.cjs')], runOptions }, async (service) => {
      await whenAllServe(service, 2);
      await pointAt(current, path.join(folder, 'new'));
      await service.restart();
      const ask = async () =>
        (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })).text();
      const answers = async () => [...new Set(await Promise.all(Array.from({ length: 60 }, ask)))].sort();
      await then({ service, answers });
    });
  });
}

async function scale(service: Supervised, slots: number): Promise<void> {
  const { code, stderr } = await service.moult('scale', String(slots), service.name);
  assert.equal(code, 0, stderr);
  await whenAllServe(service, slots);
}

describe('slots that come while a release is in its probation', () => {
  it('have that release, also when it is confirmed', async () => {
    await deployed('3s', async ({ service, answers }) => {
      await scale(service, 4);
      assert.deepEqual(await answers(), ['new']);
      await until('all are confirmed', async () =>
        (await serving(service)).every(({ watchedUntil }) => watchedUntil === undefined),
      );
      await whenAllServe(service, 4);
      assert.deepEqual(await answers(), ['new']);
    });
  });

  it('go back with the others: in a rollback, and where another slot fails', async () => {
    for (const isByHand of [true, false]) {
      await deployed('1h', async ({ service, answers }) => {
        await scale(service, 3);
        if (isByHand) {
          const { code, stderr } = await service.moult('rollback', service.name);
          assert.equal(code, 0, stderr);
        } else process.kill((await serving(service))[0]?.pid ?? 0, 'SIGKILL');
        await until('all are old', async () => {
          await whenAllServe(service, 3);
          return (await answers()).join() === 'old';
        });
      });
    }
  });

  it('take the others back with them where they fail', async () => {
    await deployed('1h', async ({ service, answers }) => {
      await scale(service, 3);
      process.kill((await serving(service))[2]?.pid ?? 0, 'SIGKILL');
      await service.logs(/slot 2 failed in its probation: slots 1, 0 run their previous release/);
      await whenAllServe(service, 3);
      assert.deepEqual(await answers(), ['old']);
    });
  });
});
