import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { descriptorRoom } from '#moult/os/descriptors/descriptor-room.js';
import { freePort } from '../support/free-ports.js';
import { withBrokenCalls } from './broken-calls.js';
import { PYTHON, SERVER, skip } from './python-program.js';
import { askOnce } from './raw-client.js';
import { whenAllServe } from './slots-of.js';
import { nothingLost, strictLoad } from './strict-load.js';
import { fixture, pointAt, Supervised, until, withFolder, withService } from './supervised.js';

/** Every way in which Node tells of it: by an event without streams, by an event, and by throwing. */
const ERRORS = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOENT', 'EACCES', 'ENOMEM', 'E2BIG', 'EPERM'];
const SHORT = ['--probation', '200ms', '--drain-timeout', '2s', '--stop-timeout', '4s'];

/** The supervisor lives, the same process serves, and the next restart goes. */
async function servesOn(service: Supervised, pid: number | undefined): Promise<void> {
  assert.ok(!service.isOver, 'the supervisor lives');
  assert.equal((await service.current()).pid, pid);
  assert.equal(await askOnce(await service.target()), String(pid));
}

describe('a process that cannot be started', () => {
  it('fails a restart with its reason, and none of those after it', async () => {
    await withBrokenCalls({ command: [fixture('http.cjs')], runOptions: SHORT }, async (service, calls) => {
      for (const error of ERRORS) {
        const { pid } = await service.current();
        calls.begin({ call: 'spawn', error });
        const failure = await service.failingRestart();
        assert.ok(calls.end() > 0);
        assert.equal(failure.code, 'MOULT_START_FAILED');
        assert.match(failure.message, new RegExp(error));
        assert.equal(failure.serving, 'predecessor');
        await servesOn(service, pid);
      }
      const before = await service.current();
      await service.restart();
      assert.notEqual((await service.current()).pid, before.pid);
    });
  });

  it('is tried again after a crash, until it goes', async () => {
    await withBrokenCalls({ command: [fixture('http.cjs')], runOptions: SHORT }, async (service, calls) => {
      for (const error of ['EMFILE', 'ENOMEM', 'EAGAIN']) {
        const { pid } = await service.current();
        calls.begin({ call: 'spawn', error });
        process.kill(pid ?? -1, 'SIGKILL');
        await until('it was tried three times', () => calls.count >= 3);
        calls.end();
        const now = await until('it serves again', async () => {
          const { generations } = await service.status();
          return generations.find(({ state }) => state === 'serving');
        });
        await servesOn(service, now.pid);
      }
      // What keeps the machine from starting anything says nothing of the release: it is not waited longer and longer.
      assert.doesNotMatch(service.log().join('\n'), /starts in ([3-9]\d{3}|\d{5,}) ms/);
      await service.restart();
    });
  });

  it('and what cannot be read for want of descriptors, is not told of as changed, nor moult as gone', async () => {
    await withBrokenCalls({ command: [fixture('http.cjs')], runOptions: SHORT }, async (service, calls) => {
      const pid = await service.alone();
      calls.begin({ call: 'read', error: 'EMFILE' });
      process.kill(pid, 'SIGKILL');
      await service.logs(/generation 2 serves/);
      await service.alone();
      await service.restart();
      assert.ok(calls.end() > 0);
      assert.doesNotMatch(service.output, /were changed since|is gone/);
      // What could not be read when it started does not keep a release from being gone back to.
      await service.alone();
      await service.restart();
      await service.alone();
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 0, stderr);
    });
  });

  it('costs a roll, a scaling and a slot that crashed no more than that', async () => {
    const options = { command: [fixture('http.cjs')], runOptions: [...SHORT, '--slots', '2'] };
    await withBrokenCalls(options, async (service, calls) => {
      const before = await whenAllServe(service, 2);
      calls.begin({ call: 'spawn', error: 'ENOMEM', nth: 2 });
      const roll = await service.failingRestart();
      assert.equal(calls.end(), 1);
      assert.equal(roll.code, 'MOULT_START_FAILED');
      await whenAllServe(service, 2);
      calls.begin({ call: 'spawn', error: 'EMFILE' });
      const scaled = await service.moult('scale', '3', service.name);
      assert.equal(scaled.code, 1);
      assert.match(scaled.stderr, /MOULT_START_FAILED/);
      const [first] = await whenAllServe(service, 2);
      process.kill(first?.pid ?? -1, 'SIGKILL');
      const count = calls.count;
      await until('it was tried twice', () => calls.count >= count + 2);
      calls.end();
      const after = await whenAllServe(service, 2);
      assert.ok(!service.isOver);
      assert.notDeepEqual(after, before);
      await service.restart();
    });
  });

  it('fails the start of a program, also where its sockets cannot be made', { skip }, async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'release');
      await writeFile(file, 'one');
      const port = await freePort();
      const runOptions = [...SHORT, '--listen', `http=127.0.0.1:${port}`];
      await withBrokenCalls({ command: [PYTHON, SERVER, file], runOptions }, async (service, calls) => {
        for (const [call, error] of [
          ['spawn', 'EMFILE'],
          ['spawn', 'E2BIG'],
          ['bind', 'ENOSPC'],
          ['socket', 'EMFILE'],
        ] as const) {
          const { pid } = await service.current();
          calls.begin({ call, error });
          const failure = await service.failingRestart();
          assert.ok(calls.end() > 0, `${call} ${error}`);
          assert.match(failure.message, new RegExp(`${error}|has no descriptors left`));
          assert.ok(!service.isOver);
          assert.equal((await service.current()).pid, pid);
          await service.restart();
          await service.alone();
        }
        for (const [call, error] of [
          ['spawn', 'ENOMEM'],
          ['bind', 'ENOSPC'],
        ] as const) {
          const { pid } = await service.current();
          calls.begin({ call, error });
          process.kill(pid ?? -1, 'SIGKILL');
          await until('it was tried twice', () => calls.count >= 2);
          calls.end();
          await until('it serves again', async () => (await service.status()).state === 'serving');
        }
      });
    });
  });

  it('leaves a service that cannot start at all with its reason', async () => {
    const service = await Supervised.start({ command: ['/no/such/program'], waits: false });
    assert.equal(await service.ended, 127);
    assert.match(
      service.log().join('\n'),
      /the service could not be started \(spawn \/no\/such\/program ENOENT/,
    );
    await service.kill();
  });

  it('is told where its environment is too large, and forgotten when that is mended', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'env');
      await writeFile(file, 'KEY=small\n');
      const runOptions = [...SHORT, '--env-file', file];
      await withService({ command: [fixture('http.cjs')], runOptions }, async (service) => {
        const { pid } = await service.current();
        await writeFile(file, `KEY=${'x'.repeat(140_000)}\n`);
        const failure = await service.failingRestart();
        assert.equal(failure.code, 'MOULT_START_FAILED');
        assert.match(failure.message, /E2BIG: .*128 KiB/);
        await servesOn(service, pid);
        await writeFile(file, 'KEY=small\n');
        await service.restart();
      });
    });
  });
});

describe('a check that cannot be made', () => {
  const check = ['--check', 'exec:true', '--check-retries', '0', '--check-timeout', '2s'];

  it('fails the restart and says why, and the supervisor lives', async () => {
    const options = { command: [fixture('http.cjs')], runOptions: [...SHORT, ...check] };
    await withBrokenCalls(options, async (service, calls) => {
      for (const [call, error, nth] of [
        // The second process of a restart is the shell.
        ['spawn', 'ENOENT', 2],
        ['spawn', 'EMFILE', 2],
        ['spawn', 'ENOMEM', 2],
        ['bind', 'EADDRINUSE', undefined],
        ['bind', 'ENOSPC', undefined],
        ['listen', 'EADDRINUSE', undefined],
      ] as const) {
        const { pid } = await service.current();
        calls.begin({ call, error, ...(nth === undefined ? {} : { nth }) });
        const failure = await service.failingRestart();
        assert.ok(calls.end() > 0, `${call} ${error}`);
        assert.equal(failure.code, 'MOULT_CHECK_FAILED');
        assert.match(failure.message, new RegExp(`could not be made: .*${error}`));
        await servesOn(service, pid);
      }
      await service.restart();
    });
  });

  it('says nothing against a successor in its probation', async () => {
    const runOptions = [...check, '--probation', '3s'];
    await withBrokenCalls({ command: [fixture('http.cjs')], runOptions }, async (service, calls) => {
      await service.restart();
      const { pid } = await service.current();
      calls.begin({ call: 'bind', error: 'ENOSPC' });
      await until('a check could not be made', () => calls.count > 0);
      await until('it is confirmed', async () => (await service.status()).generations.length === 1);
      assert.ok(calls.end() > 0);
      await servesOn(service, pid);
    });
  });

  it('needs no shell to be refused, and no free name for its socket', async () => {
    await withFolder(async (folder) => {
      const bin = path.join(folder, 'bin');
      await mkdir(bin);
      await symlink(process.execPath, path.join(bin, 'node'));
      const options = { command: [fixture('http.cjs')], runOptions: [...SHORT, ...check] };
      await withService({ ...options, env: { PATH: bin } }, async (service) => {
        const { pid } = await service.current();
        const failure = await service.failingRestart();
        assert.match(failure.message, /the shell could not be started \(spawn sh ENOENT/);
        await servesOn(service, pid);
      });
      await withService(options, async (service) => {
        for (const n of [1, 2, 3]) await writeFile(path.join(service.folder.path, `check-${n}.sock`), '');
        await service.restart();
      });
    });
  });
});

describe('a service that does not answer', () => {
  const options = { command: [fixture('http.cjs')], runOptions: SHORT };

  it('does not refuse the restarts after the one that it did not hear of', async () => {
    await withService(options, async (service) => {
      const { pid = -1 } = await service.current();
      process.kill(pid, 'SIGSTOP');
      const failure = await service.failingRestart();
      assert.equal(failure.code, 'MOULT_PEER_TIMEOUT');
      assert.match(failure.message, /moult restart --force replaces it .*\(0 now\)/);
      // It hears of both at once.
      const second = service.restart();
      process.kill(pid, 'SIGCONT');
      const { predecessor } = await second;
      assert.equal(predecessor, 1);
      await service.restart();
    });
  });

  it('is replaced with --force, which says what it costs; a broken release, or its answer, keeps it', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.cjs');
      await pointAt(link, fixture('http.cjs'));
      await withService({ ...options, command: [link] }, async (service) => {
        const { pid = -1 } = await service.current();
        await pointAt(link, fixture('broken/throws.mjs'));
        process.kill(pid, 'SIGSTOP');
        const failure = await service.failingRestart('--force');
        assert.equal(failure.code, 'MOULT_SUCCESSOR_EXITED');
        process.kill(pid, 'SIGCONT');
        await servesOn(service, pid);

        await pointAt(link, fixture('http.cjs'));
        process.kill(pid, 'SIGSTOP');
        const forced = service.moult('restart', service.name, '--force');
        await service.logs(/will be killed once its successor is ready/);
        const { code, stdout } = await forced;
        assert.equal(code, 0, stdout);
        assert.match(stdout, /force .*the predecessor does not answer and is killed: 0 connections cut/);
        await service.logs(/generation 1 was ended by SIGKILL; its successor takes over/);
        const now = await service.current();
        assert.notEqual(now.pid, pid);
        await servesOn(service, now.pid);
        await service.restart();
      });
    });
  });
});

describe('a service that may open no more descriptors', () => {
  it('is named with its limit, whoever of the two it is, and not its release', async () => {
    await withFolder(async (folder) => {
      const limit = path.join(folder, 'limit');
      const run = `[ -f ${limit} ] && ulimit -n $(cat ${limit}); exec ${process.execPath} ${fixture('http.cjs')}`;
      const runOptions = [...SHORT, '--ready-timeout', '3s'];
      await withService({ command: ['sh', '-c', run], runOptions }, async (service) => {
        const { pid } = await service.current();
        const fails = async (why: RegExp) => {
          const { code, stderr, stdout } = await service.moult('restart', service.name);
          assert.equal(code, 1, stdout);
          const said = stdout + stderr;
          assert.match(said, why);
          assert.match(said, /MOULT_DESCRIPTORS/);
          assert.match(said, /prlimit --pid PID --nofile=N/);
          assert.doesNotMatch(said, /fix the release/);
          assert.equal((await service.current()).pid, pid);
        };
        for (const few of [22, 30]) {
          writeFileSync(limit, String(few));
          await fails(/the successor .*: it may open no more descriptors \(EMFILE\)/);
        }
        rmSync(limit);
        // Lower than what is open: what it has in reserve has higher numbers.
        const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
        const before = descriptorRoom(pid ?? -1)?.limit;
        let lowest = 0;
        while (open.has(lowest)) lowest += 1;
        execFileSync('prlimit', ['--pid', String(pid), `--nofile=${lowest}:`]);
        await fails(new RegExp(`process ${pid}\\) has used all ${lowest} descriptors`));
        execFileSync('prlimit', ['--pid', String(pid), `--nofile=${before}:`]);
        await service.restart();
      });
    });
  });

  it('is restarted all the same: its door has some in reserve', async () => {
    await withService({ command: [fixture('http.cjs')], runOptions: SHORT }, async (service) => {
      const load = strictLoad(await service.target(), { 'kept-alive': 24 });
      await until('the load runs', () => load.snapshot().total.answered > 100);
      for (let n = 0; n < 2; n += 1) {
        const { pid = -1 } = await service.current();
        const open = readdirSync(`/proc/${pid}/fd`).length;
        execFileSync('prlimit', ['--pid', String(pid), `--nofile=${open}:`]);
        const { moved } = await service.restart();
        assert.ok(moved > 0, 'connections moved');
        await service.alone();
      }
      await nothingLost(load);
    });
  });
});
