// Generations that an earlier supervisor, or the program before an upgrade, left, and that do not come back in time: they
// serve clients, so their supervisor stays and waits.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { freePorts } from '../support/free-ports.js';
import { askOnce } from './raw-client.js';
import { whenAllServe } from './slots-of.js';
import { fixture, Supervised, until, withFolder, withService } from './supervised.js';

const command = [fixture('http.cjs')];
const runOptions = [
  ...['--probation', '200ms', '--drain-timeout', '2s', '--stop-timeout', '2s', '--ready-timeout', '3s'],
];

/** Leaves a process no descriptor to open. @returns takes that back. */
function starve(pid: number): () => void {
  const set = (soft: number) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let free = 0;
  while (open.has(free)) free += 1;
  set(free);
  return () => set(1024);
}

describe('a generation that does not come back after an upgrade', () => {
  it('is waited for: it is adopted when it answers, revived when it ends, and replaced only with --force', async () => {
    await withService({ command, runOptions }, async (service) => {
      const { pid = -1 } = await service.current();
      process.kill(pid, 'SIGSTOP');
      const upgrade = service.moult('upgrade', service.name);
      await service.logs(/generation 1 \(process \d+\), left by .* moult keeps waiting for it/);
      const failure = await service.failingRestart();
      assert.equal(failure.code, 'MOULT_PEER_TIMEOUT');
      assert.match(
        failure.message,
        /moult restart --force kills it and starts a new one, which cuts its connections/,
      );
      assert.equal(failure.serving, 'unchanged');
      process.kill(pid, 'SIGCONT');
      assert.equal((await upgrade).code, 0);
      await service.logs(/generation 1 is adopted/);
      assert.equal(await askOnce(await service.target()), String(pid));
      await service.restart();

      const second = await service.alone();
      process.kill(second, 'SIGSTOP');
      const again = service.moult('upgrade', service.name);
      await service.logs(new RegExp(`process ${second}\\), left by .* moult keeps waiting for it`));
      const forced = await service.restart('--force');
      assert.equal((await service.current()).generation, forced.generation);
      assert.ok(!(await service.status()).generations.some((one) => one.pid === second));
      assert.equal((await again).code, 0);

      const third = await service.alone();
      // What is not known of it does not end the service with it.
      rmSync(service.folder.journal);
      process.kill(third, 'SIGSTOP');
      const last = service.moult('upgrade', service.name);
      await service.logs(new RegExp(`process ${third}\\), left by .* moult keeps waiting for it`));
      process.kill(third, 'SIGKILL');
      assert.equal((await last).code, 0);
      await until('another one serves', async () => {
        const { state, generations } = await service.status();
        return state === 'serving' && generations.length === 1 && generations[0]?.pid !== third;
      });
      await service.restart();
    });
  });

  it('comes back without a descriptor that it could open', async () => {
    await withService({ command, runOptions: [...runOptions, '--slots', '2'] }, async (service) => {
      const before = await whenAllServe(service, 2);
      const relieve = before.map(({ pid }) => starve(pid ?? -1));
      assert.equal((await service.moult('upgrade', service.name)).code, 0);
      const after = await whenAllServe(service, 2);
      for (const one of relieve) one();
      assert.deepEqual(
        after.map(({ pid }) => pid),
        before.map(({ pid }) => pid),
      );
      assert.ok(!service.log().some((line) => /moult keeps waiting for it/.test(line)));
      await service.restart();
    });
  });
});

describe('generations of which nothing is known, because their run folder was removed with their supervisor', () => {
  for (const slots of [1, 3])
    it(`serve on in their ${slots} slots under the next one`, async () => {
      await withFolder(async (runtimeFolder) => {
        const [port] = await freePorts(1);
        const env = { PORT: String(port) };
        const options = {
          command,
          env,
          runOptions: [...runOptions, '--slots', String(slots)],
          runtimeFolder,
        };
        const first = await Supervised.start(options);
        let second: Supervised | undefined;
        try {
          const before = await whenAllServe(first, slots);
          first.process.kill('SIGKILL');
          await until('it is dead', () => first.isOver);
          rmSync(path.dirname(first.folder.path), { recursive: true });
          second = await Supervised.start(options);
          const after = await whenAllServe(second, slots);
          assert.deepEqual(
            after.map(({ pid }) => pid),
            before.map(({ pid }) => pid),
            second.output,
          );
          const { generations } = await second.status();
          assert.equal(generations.length, slots);
          await second.restart();
          await second.stop();
          await first.assertNothingLeft();
        } finally {
          // What the second has adopted holds its output open.
          await first.kill();
          await second?.kill();
        }
      });
    });
});

/** Says its number, and listens as soon as there is a file. */
const SLOW = `
  const { existsSync } = require('node:fs');
  console.log('begun ' + process.pid);
  const look = setInterval(() => {
    if (!existsSync(process.env.GO)) return;
    clearInterval(look);
    require('node:http')
      .createServer((request, response) => response.end(String(process.pid)))
      .listen(Number(process.env.PORT), '127.0.0.1');
  }, 20);
`;

describe('a generation whose supervisor was killed before they had met', () => {
  it("ends before it serves anybody, and is in nobody else's way", async () => {
    await withFolder(async (runtimeFolder) => {
      const [port] = await freePorts(1);
      const script = path.join(runtimeFolder, 'slow.cjs');
      const env = { PORT: String(port), GO: path.join(runtimeFolder, 'go') };
      writeFileSync(script, SLOW);
      const options = { command: [script], env, runOptions, runtimeFolder };
      const first = await Supervised.start({ ...options, waits: false });
      let second: Supervised | undefined;
      try {
        const pid = Number((await first.writes(/begun (\d+)/))[1]);
        first.process.kill('SIGKILL');
        await until('it is dead', () => first.isOver);
        writeFileSync(env.GO, '');
        await until('it has ended', () => !existsSync(`/proc/${pid}`));
        second = await Supervised.start(options);
        assert.equal((await second.current()).pid, await second.alone());
        await second.restart();
        await second.stop();
      } finally {
        await first.kill();
        await second?.kill();
      }
    });
  });
});
