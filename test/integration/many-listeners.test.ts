import assert from 'node:assert/strict';
import { get } from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PACE } from '../support/pace.js';
import { fixture, until, withFolder, withService } from './supervised.js';

const COUNT = 300;

/** The process that answers at a Unix socket. */
function answerAt(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path: '/', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

describe('a service with more listeners than one record has descriptors', () => {
  it('is restarted, upgraded and started again after a crash, and each of them is always there', async () => {
    await withFolder(async (folder) => {
      const env = { COUNT: String(COUNT), SOCKETS: folder };
      await withService({ command: [fixture('many-listeners.mjs')], env }, async (service) => {
        const all = Array.from({ length: COUNT - 1 }, (_, n) => path.join(folder, `s${n + 1}.sock`));
        let isOver = false;
        let asked = 0;
        // A client that never finds nobody: each socket in its turn.
        const client = (async () => {
          while (!isOver) {
            await answerAt(all[asked % all.length] ?? '');
            asked += 1;
            await pause(PACE);
          }
        })();
        const served = async () => {
          const { pid, listeners } = await service.current();
          assert.equal(listeners?.length, COUNT);
          return pid;
        };
        try {
          const first = await served();
          for (let n = 0; n < 2; n += 1) assert.equal((await service.restart()).listeners, COUNT);
          const third = await served();
          assert.notEqual(third, first);
          assert.equal((await service.moult('upgrade', service.name)).code, 0);
          assert.equal(await served(), third);
          assert.equal((await service.restart()).listeners, COUNT);
          const status = await service.moult('status');
          // Of each generation there: the one before may still be ending.
          const left = [...status.stdout.matchAll(/and (\d+) more/g)].map(([, count]) => Number(count));
          const shown = status.stdout.match(/\d+\.sock|tcp:/g)?.length ?? 0;
          assert.equal(
            left.length > 0 && shown + left.reduce((sum, one) => sum + one, 0),
            COUNT * left.length,
          );
          const before = await served();
          isOver = true;
          await client;
          process.kill(before, 'SIGKILL');
          const pid = await until('it serves again', async () => {
            const { generations } = await service.status();
            const one = generations.find(({ state }) => state === 'serving');
            return one !== undefined && one.pid !== before ? one.pid : undefined;
          });
          const answers = new Set<string>();
          for (const socketPath of all) answers.add(await answerAt(socketPath));
          assert.deepEqual([...answers], [String(pid)]);
          assert.ok(asked > COUNT);
        } finally {
          isOver = true;
          await client;
        }
      });
    });
  });
});
