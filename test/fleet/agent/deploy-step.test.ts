import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

const STEP = import.meta.resolve('#moult/fleet/agent/deploy-step.js');

describe('a deploy step', () => {
  it('fails where no process can be started, and the agent goes on', async () => {
    const code = `
      import { closeSync, openSync } from 'node:fs';
      import { runDeployStep } from ${JSON.stringify(STEP)};
      const step = { command: 'true', folder: '/', timeoutMs: 10_000 };
      const taken = [];
      try {
        for (;;) taken.push(openSync('/dev/null'));
      } catch {}
      for (const fd of taken.splice(0, 3)) closeSync(fd);
      const failure = await runDeployStep(step, 'shop', '2', 'restart').then(() => 'none', String);
      for (const fd of taken) closeSync(fd);
      await runDeployStep(step, 'shop', '2', 'restart');
      console.log(failure);
    `;
    const limited = [
      '-c',
      'ulimit -n 100; exec "$@"',
      'sh',
      process.execPath,
      '--input-type=module',
      '-e',
      code,
    ];
    const { stdout } = await promisify(execFile)('/bin/sh', limited);
    assert.match(stdout, /the deploy step could not be started: spawn .*EMFILE/);
  });
});
