import assert from 'node:assert/strict';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { portOf, whenAllServe } from './slots-of.js';
import { nothingLost, strictLoad } from './strict-load.js';
import { fixture, root, type Supervised, until, withFolder, withService } from './supervised.js';

async function recyclings(service: Supervised): Promise<Record<string, unknown>[]> {
  const { stdout } = await service.moult('history', service.name, '--json');
  return (JSON.parse(stdout) as Record<string, unknown>[]).filter(({ kind }) => kind === 'recycle');
}

describe('recycling', () => {
  it('replaces one slot after another that has too much memory, by the same release, and loses nothing', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'leak');
      const runOptions = ['--slots', '2', '--max-memory', '300M', '--probation', '300ms'];
      const env = { LEAK_FILE: file };
      await withService({ command: [fixture('leaks.mjs')], runOptions, env }, async (service) => {
        await whenAllServe(service, 2);
        const load = strictLoad({ host: '127.0.0.1', port: await portOf(service) });
        await writeFile(file, '320');
        // What is started from then on finds no file.
        await service.logs(/is recycled: it has \d+ MB of memory, over --max-memory 300 MB/);
        await until('both have grown', async () => {
          const { generations } = await service.status();
          return generations.every(
            ({ generation, memoryBytes = 0 }) => generation > 2 || memoryBytes > 300e6,
          );
        });
        await rm(file);
        const found = await until('both are recycled', async () => {
          const all = await recyclings(service);
          return all.filter(({ result }) => result === 'confirmed').length >= 2 && all;
        });
        await nothingLost(load);
        assert.deepEqual(new Set(found.map(({ slot }) => slot)), new Set([0, 1]));
        // One was confirmed before the next was begun.
        const [first, second] = found;
        assert.ok(Number(second?.at) - Number(first?.at) >= 300);
        assert.match(String(first?.because), /over --max-memory 300 MB/);
        const { recycled } = await service.status();
        assert.match(String(recycled?.reason), /over --max-memory 300 MB/);
        const text = (await service.moult('status', service.name)).stdout.replaceAll(/\s+/g, ' ');
        assert.match(text, /slot \d: generation \d+ was recycled \d+ s ago: it has/);
        const { stdout } = await service.moult('history', service.name);
        assert.match(stdout, /recycle .*confirmed/);
      });
    });
  });

  it('follows a schedule, starts what runs and not what its path holds, and fails where that was written over', async () => {
    await withFolder(async (folder) => {
      const script = path.join(folder, 'server.cjs');
      for (const name of ['http.cjs', 'echo.cjs'])
        await copyFile(fixture(name), path.join(folder, name === 'http.cjs' ? 'server.cjs' : name));
      // Each second; what began after the last is too young.
      const runOptions = ['--recycle', '* * * * * *', '--probation', '200ms'];
      await withService({ command: [script], runOptions }, async (service) => {
        const load = strictLoad(await service.target());
        await until('it is recycled twice', async () => (await recyclings(service)).length >= 2);
        await nothingLost(load);
        await writeFile(script, 'process.exit(9);');
        await service.logs(/could not be recycled \(MOULT_RELEASE_CHANGED\); moult tries again in \d+ s/);
        const { generations } = await service.status();
        assert.ok(generations.some(({ state }) => state === 'serving'));
        const failed = (await recyclings(service)).find(({ result }) => result === 'failed');
        assert.match(String(failed?.because), /it is due by --recycle "\* \* \* \* \* \*"/);
      });
    });
  });

  it('refuses a schedule that is none', async () => {
    await withFolder(async (cwd) => {
      await withService({ command: [fixture('http.cjs')], cwd: root }, async (service) => {
        for (const bad of ['tomorrow', '61 * * * *', '']) {
          const { code, stderr } = await service.moult('run', '--recycle', bad, path.join(cwd, 'x.js'));
          assert.equal(code, 2, stderr);
          assert.match(stderr, /Expected a schedule such as "0 4 \* \* \*"/);
        }
      });
    });
  });
});
