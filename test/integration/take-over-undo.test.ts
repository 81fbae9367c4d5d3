// two serve for good.
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../support/free-ports.js';
import { answerOrError } from './clients.js';
import { fixture, Supervised, until, withFolder } from './supervised.js';

describe('a take-over', () => {
  it('waits, or is refused, while an undo is under way', async () => {
    await withFolder(async (folder) => {
      const run = path.join(folder, 'run');
      const port = await freePort();
      const env = { PORT: String(port) };
      const first = await Supervised.start({
        command: [fixture('overlaps.mjs')],
        runtimeFolder: run,
        env,
        runOptions: ['--probation', '20s', '--stop-timeout', '2s', '--drain-timeout', '3s'],
      });
      let second: Supervised | undefined;
      try {
        const { pid } = await first.current();
        await first.restart();
        process.kill(pid, 'SIGSTOP');
        const rollback = first.moult('rollback', first.name);
        await pause(500);
        second = await Supervised.start({
          command: [fixture('overlaps.mjs')],
          runtimeFolder: run,
          name: 'next',
          env,
          waits: false,
          runOptions: [
            '--take-over',
            path.join(run, 'moult/service'),
            '--probation',
            '20s',
            '--stop-timeout',
            '2s',
            '--drain-timeout',
            '3s',
          ],
        });
        const it2 = second;
        await until(
          'it serves or is refused',
          () => /generation 3 serves|MOULT_/.test(it2.output) || it2.isOver,
        );
        process.kill(pid, 'SIGCONT');
        await pause(4000);
        const who: Record<string, number> = {};
        for (let i = 0; i < 200; i += 1) {
          const a = await answerOrError({ port, path: '/' });
          who[a] = (who[a] ?? 0) + 1;
        }
        assert.equal(
          Object.keys(who).length,
          1,
          `one answers: ${JSON.stringify(who)}\n${first.output}\n--\n${it2.output}`,
        );
        await Promise.race([rollback, pause(2000)]);
      } finally {
        await second?.kill();
        await first.kill();
      }
    });
  });
});
