import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { describeExit, reap, signal } from '#moult/os/processes/process.js';
import { fixture } from '../../support/fixture.js';
import { tidy } from '../../support/tidy.js';

interface Told {
  readonly name: string;
  readonly pid: number;
  readonly code: number | null;
  readonly notStarted?: string;
}

describe('a process that cannot be started', () => {
  tidy('is told of by its end, whatever the reason, and nothing is thrown or signalled', async (later) => {
    const launches = fixture(later, 'launches.mjs');
    const { told, kept } = await launches.says<{ told: Told[]; kept: number }>();
    const good = told.filter(({ name }) => name.startsWith('good'));
    const bad = told.filter(({ name }) => !name.startsWith('good'));
    assert.equal(bad.length, 9 * 3 + 6);
    for (const { name, pid, code, notStarted } of bad) {
      assert.equal(code, 127, name);
      assert.equal(pid, -1, name);
      assert.ok(notStarted, name);
    }
    const why = (name: string) => told.find((one) => one.name === name)?.notStarted ?? '';
    assert.match(why('launch EMFILE'), /EMFILE: .*ulimit -n/);
    assert.match(why('launch EAGAIN'), /EAGAIN: .*pids\.max/);
    assert.match(why('too large'), /E2BIG: .*128 KiB/);
    assert.match(why('no such folder'), /its folder \/no\/such\/folder does not exist/);
    assert.match(why('not executable'), /EACCES: it is not executable by this user/);
    assert.match(why('a zero byte'), /null bytes/);
    assert.deepEqual(
      good.map(({ code, notStarted }) => ({ code, notStarted })),
      [
        { code: 0, notStarted: undefined },
        { code: 0, notStarted: undefined },
      ],
    );
    assert.equal(kept, 4);
    assert.deepEqual(await launches.exited, { code: 0, signal: null });
  });

  it('is described by the reason', () => {
    const notStarted = 'spawn sh ENOENT';
    assert.equal(
      describeExit({ code: 127, signal: null, notStarted }),
      'could not be started (spawn sh ENOENT)',
    );
  });
});

describe('a number that means no one process', () => {
  it('is never signalled: not this group, not all processes', () => {
    const group: string[] = [];
    const heard = () => group.push('SIGWINCH');
    process.on('SIGWINCH', heard);
    for (const pid of [0, -0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY])
      assert.equal(signal(pid, 'SIGWINCH'), false, String(pid));
    process.off('SIGWINCH', heard);
    assert.deepEqual(group, []);
  });

  it('is never waited for: that would take the end of another child', async () => {
    const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    for (const pid of [-1, 0, -process.pid]) assert.equal(reap(pid), undefined, String(pid));
    assert.deepEqual(await exited, [0, null]);
  });
});
