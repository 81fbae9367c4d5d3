// The folder of the last good release is deleted, and the service crashes: what is missing is named, and nothing is started in vain.
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { ServiceStatus } from '#moult/supervisor/status.js';
import { pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

const runOptions = ['--probation', '100ms', '--drain-timeout', '2s', '--stop-timeout', '2s'];

function write(folder: string, answer: string): void {
  mkdirSync(folder);
  const text = `require('node:http').createServer((_, response) => response.end('${answer}')).listen(0, '127.0.0.1');`;
  writeFileSync(path.join(folder, 'server.cjs'), text);
}

async function served(service: Supervised): Promise<string> {
  const { host, port } = await service.target();
  return (await fetch(`http://${host}:${port}`, { headers: { connection: 'close' } })).text();
}

/** It serves, its release is moved away, and it crashes. @returns what status says then. */
async function lose(service: Supervised, lost: () => void): Promise<ServiceStatus> {
  const { pid } = await service.current();
  lost();
  process.kill(pid, 'SIGKILL');
  return until('it waits', async () => {
    const status = (await service.status()) as ServiceStatus;
    return status.waits?.[0]?.missing !== undefined && status;
  });
}

describe('a service whose release was deleted before it crashed', () => {
  it('is not started in vain, says what is missing, and serves once that is there or there is another release', async () => {
    await withFolder(async (folder) => {
      const [one, two, current] = ['1', '2', 'current'].map((name) => path.join(folder, name)) as [
        string,
        string,
        string,
      ];
      write(one, 'one');
      write(two, 'two');
      symlinkSync('1', current);
      await withService({ command: [path.join(current, 'server.cjs')], runOptions }, async (service) => {
        const entry = path.join(one, 'server.cjs');
        // Its entry is gone, then its whole folder; each time it is put back.
        for (const [from, number] of [
          [entry, 2],
          [one, 3],
        ] as const) {
          const status = await lose(service, () => renameSync(from, `${from}.away`));
          assert.equal(status.waits?.[0]?.missing, from === one ? entry : from);
          assert.match(status.waits?.[0]?.reason ?? '', /was ended by SIGKILL/);
          assert.deepEqual(status.generations, [], 'none is started in vain');
          const { stdout } = await service.moult('status', service.name);
          assert.match(
            stdout.replaceAll(/\s+/g, ' '),
            /cannot start: .*server\.cjs was removed\. It starts once/,
          );
          renameSync(`${from}.away`, from);
          await service.logs(new RegExp(`generation ${number} serves`));
          assert.equal(await served(service), 'one');
          await service.alone();
        }
        await service.logs(/cannot start: .*server\.cjs was removed.*moult restart starts another release/);
        // Another release starts at once.
        await lose(service, () => rmSync(one, { recursive: true }));
        await pointAt(current, two);
        assert.equal((await service.moult('restart', service.name)).code, 0);
        assert.equal(await served(service), 'two');
        const { waits } = (await service.status()) as ServiceStatus;
        assert.equal(waits, undefined);
        await service.alone();
        // And the one before, where it is still there.
        write(one, 'one again');
        await pointAt(current, one);
        await service.restart('--wait=confirmed');
        await service.alone();
        await lose(service, () => rmSync(one, { recursive: true }));
        assert.equal((await service.moult('rollback', service.name)).code, 0);
        assert.equal(await served(service), 'two');
      });
    });
  });

  it('is started again by a wrapper of which only the working directory was deleted, once that is there', async () => {
    await withFolder(async (folder) => {
      const cwd = path.join(folder, 'release');
      write(cwd, 'one');
      const command = ['sh', '-c', 'exec node ./server.cjs'];
      await withService({ command, cwd, runOptions }, async (service) => {
        const status = await lose(service, () => renameSync(cwd, `${cwd}.away`));
        assert.equal(status.waits?.[0]?.missing, cwd);
        renameSync(`${cwd}.away`, cwd);
        await service.logs(/generation 2 serves/);
        assert.equal(await served(service), 'one');
      });
    });
  });
});
