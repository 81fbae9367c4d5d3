import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fixture, type Supervised, until, withFolder, withService } from './supervised.js';

const command = [fixture('pool/piscina.mjs')];

async function ask(
  service: Supervised,
  how: 'later' | 'now',
  file: string,
  goesOnWith: string,
): Promise<string> {
  const { port } = await service.target();
  const body = JSON.stringify({ file, until: goesOnWith });
  const response = await fetch(`http://127.0.0.1:${port}/${how}`, { method: 'POST', body });
  return response.text();
}

describe('a pool of Piscina in the service', () => {
  for (const [what, env] of [
    ['its handler of the stop signal', {}],
    ['beforeEnd of the library', { LIBRARY: '1' }],
  ] as const) {
    it(`has finished its tasks when the process ends, by ${what}`, async () => {
      await withFolder(async (folder) => {
        await withService({ command, env, runOptions: ['--probation', '500ms'] }, async (service) => {
          const pid = await service.alone();
          const go = path.join(folder, 'go');
          const files = Array.from({ length: 6 }, (_, n) => path.join(folder, `${n}`));
          // Two run, four wait in the queue of the pool.
          for (const file of files) assert.equal(await ask(service, 'later', file, go), String(pid));
          const now = path.join(folder, 'now');
          const answered = ask(service, 'now', now, go);
          await service.restart();
          assert.notEqual((await service.current()).pid, pid);
          assert.ok(!files.some(existsSync), 'the handover did not wait for the pool');
          writeFileSync(go, '');
          assert.equal(await answered, String(pid), 'a request that waits for the pool is answered');
          await until('the predecessor has ended', async () => (await service.alone()) !== pid);
          for (const file of files) assert.equal(readFileSync(file, 'utf8'), String(pid));
        });
      });
    });
  }
});
