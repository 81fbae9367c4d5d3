import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runToEnd } from '#moult/os/processes/run-to-end.js';

const terms = { timeoutMs: 60_000, keep: 4, kept: 'first' } as const;

function script(text: string) {
  return { command: process.execPath, args: ['-e', text], cwd: '/', env: process.env };
}

describe('running a process to its end', () => {
  it('returns what it said on each output, and how it ended', async () => {
    const text = "process.stdout.write('out'); process.stderr.write('err'); process.exitCode = 3";
    const { exit, isLate, stdout, stderr } = await runToEnd(script(text), terms);
    assert.deepEqual(
      { code: exit.code, isLate, stdout, stderr },
      { code: 3, isLate: false, stdout: 'out', stderr: 'err' },
    );
  });

  it('keeps the last of what it said, where that is asked for', async () => {
    const { stdout } = await runToEnd(script("process.stdout.write('abcdefgh')"), { ...terms, kept: 'last' });
    assert.equal(stdout, 'efgh');
  });

  it('kills it when it takes too long, and says so', async () => {
    const { exit, isLate } = await runToEnd(script('setInterval(() => {}, 1000)'), {
      ...terms,
      timeoutMs: 1,
    });
    assert.equal(isLate, true);
    assert.equal(exit.signal, 'SIGKILL');
  });

  it('does not wait for a process that it left behind with its outputs', async () => {
    const sleeper =
      "require('node:child_process').spawn('sleep', ['30'], { stdio: 'inherit', detached: true })";
    const text = `const child = ${sleeper}; child.unref(); process.stdout.write(String(child.pid))`;
    const { exit, stdout } = await runToEnd(script(text), { ...terms, keep: 20 });
    process.kill(Number(stdout), 'SIGKILL');
    assert.equal(exit.code, 0);
  });
});
