import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { BrokenCalls, withBrokenCalls } from './broken-calls.js';
import { askOnce } from './raw-client.js';
import { nothingLost, strictLoad } from './strict-load.js';
import { fixture, Supervised, until, withFolder } from './supervised.js';

const SHORT = ['--probation', '200ms', '--drain-timeout', '2s', '--stop-timeout', '4s'];

/** How often one program has taken the place of another. */
function adoptions(service: Supervised): number {
  return service.log().filter((line) => /generation \d+ is adopted/.test(line)).length;
}

describe('an error that nothing expected, in the supervisor', () => {
  it('is logged with its stack, and the supervisor goes on as a new program: nothing fails', async () => {
    await withBrokenCalls({ command: [fixture('http.cjs')], runOptions: SHORT }, async (service) => {
      const before = await service.current();
      const load = strictLoad(await service.target());
      await until('the load runs', () => load.snapshot().total.answered > 50);
      for (const [signal, where] of [
        ['SIGPWR', 'callback'],
        ['SIGIO', 'promise'],
      ] as const) {
        const count = adoptions(service);
        service.process.kill(signal);
        await service.logs(new RegExp(`a bug in moult: Error: injected into a ${where}\\n +at `));
        await until('a new program has adopted it', () => adoptions(service) > count);
        assert.equal((await service.current()).pid, before.pid);
      }
      await service.restart();
      await service.alone();
      await nothingLost(load);
    });
  });

  it('ends the supervisor only where it comes too often; what a failed exec would have kept open is not inherited', async () => {
    await withFolder(async (folder) => {
      const calls = new BrokenCalls(folder);
      const options = { command: [fixture('http.cjs')], runOptions: SHORT };
      const service = await Supervised.start(calls.options(options));
      const target = await service.target();
      const before = inheritable(service.pid);
      calls.begin({ call: 'execve', error: 'ENOENT' });
      service.process.kill('SIGPWR');
      await service.logs(/the supervisor could not restart itself .*keeps running/);
      calls.end();
      assert.deepEqual(inheritable(service.pid), before);
      await service.restart();
      await service.alone();
      for (let n = 2; n <= 5; n += 1) {
        const count = adoptions(service);
        service.process.kill('SIGPWR');
        await until('a new program has adopted it', () => adoptions(service) > count);
      }
      const { pid } = await service.current();
      // Not "close": the service still has its output.
      const ended = once(service.process, 'exit');
      service.process.kill('SIGPWR');
      assert.deepEqual(await ended, [1, null]);
      // Its end may be known before its last words are read.
      await until('it says why', () =>
        service.log().some((line) => /it is error number 6 within 10 min: moult exits/.test(line)),
      );
      // The service goes on, and the next supervisor finds it.
      assert.equal(await askOnce(target), String(pid));
      const { runtimeFolder } = service;
      const next = await Supervised.start({ ...options, runtimeFolder });
      await next.logs(/is adopted/);
      await next.stop();
      await service.kill();
    });
  });
});

/** The descriptors that a child of this process would get. */
function inheritable(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fdinfo`).filter((fd) => {
    const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
    return Number(fd) > 2 && (Number.parseInt(flags, 8) & 0o2000000) === 0;
  });
}
