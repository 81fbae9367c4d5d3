// a stop before a generation has come back to the next supervisor ends it by its stop signal, with what it has in hand.
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../support/free-ports.js';
import { answerOrError } from './clients.js';
import { fixture, Supervised, until, withFolder } from './supervised.js';

describe('a stop that comes while generations are on their way back', () => {
  for (const how of ['to the supervisor that follows a killed one'] as string[]) {
    it(`${how} finishes what is in flight`, async () => {
      await withFolder(async (folder) => {
        const run = path.join(folder, 'run');
        const port = await freePort();
        const options = {
          command: [fixture('overlaps.mjs')],
          runtimeFolder: run,
          env: { PORT: String(port) },
          runOptions: ['--drain-timeout', '8s', '--log', 'debug'],
        };
        const first = await Supervised.start(options);
        let second: Supervised | undefined;
        try {
          const { pid } = await first.current();
          const slow = answerOrError({ port, path: '/?ms=4000' });
          await until('in flight', async () => (await first.current()).inFlight === 1);
          {
            process.kill(pid, 'SIGSTOP');
            first.process.kill('SIGKILL');
            await until('it is dead', () => first.isOver);
            second = await Supervised.start({ ...options, waits: false });
            const it2 = second;
            await until('it is there', () => it2.status().catch(() => false as const), 10_000);
            it2.process.kill('SIGTERM');
          }
          await pause(400);
          process.kill(pid, 'SIGCONT');
          assert.equal(await slow, '1');
          const last = second ?? first;
          await until('it ends', () => last.isOver, 15_000);
        } finally {
          await second?.kill();
          await first.kill();
        }
      });
    });
  }
});
