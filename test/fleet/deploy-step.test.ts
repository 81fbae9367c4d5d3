import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { runDeployStep } from '#moult/fleet/agent/deploy-step.js';
import { until } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';

describe('a deploy step', () => {
  tidy('gets the release as a variable, and says why it failed', async (later) => {
    const folder = temporaryFolder(later);
    const run = (command: string, timeoutMs = 20_000) =>
      runDeployStep({ command, folder, timeoutMs }, 'api', '42; rm -rf /', 'undo');
    await run('printf "%s %s %s" "$MOULT_SERVICE" "$MOULT_DEPLOY" "$MOULT_RELEASE" > said');
    assert.equal(readFileSync(join(folder, 'said'), 'utf8'), 'api undo 42; rm -rf /');
    await assert.rejects(run('echo no room >&2; exit 3'), /exited with status 3: no room/);
    await assert.rejects(run('kill -9 $$'), /was ended by SIGKILL/);
    // What it has started ends with it.
    await assert.rejects(run('sleep 100 & sleep 100', 100), /took longer than 0\.1 s/);
    // Also what does not heed a request to end, and outlives its shell.
    const stubborn = `sh -c 'trap "" TERM; echo $$ > pid && mv pid stubborn; while :; do sleep 1; done' & wait`;
    await assert.rejects(run(stubborn, 2000), /took longer than 2 s/);
    assert.ok(!isLiving(Number(readFileSync(join(folder, 'stubborn'), 'utf8'))));
    // What it leaves on purpose stays, and nobody waits for it.
    await run('sleep 100 & echo $! > left');
    const left = Number(readFileSync(join(folder, 'left'), 'utf8'));
    process.kill(left, 'SIGKILL');
  });

  tidy('ends with its agent, however that ends', async (later) => {
    const folder = temporaryFolder(later);
    const module = import.meta.resolve('#moult/fleet/agent/deploy-step.js');
    const step = { command: 'sleep 100 & echo $! > pid && mv pid slept; wait', folder, timeoutMs: 100_000 };
    const text = `import { runDeployStep } from ${JSON.stringify(module)};
      await runDeployStep(${JSON.stringify(step)}, 'api', '42', 'restart');`;
    const agent = spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: 'inherit' });
    later(() => agent.kill('SIGKILL'));
    const slept = join(folder, 'slept');
    await until(() => existsSync(slept), 'it sleeps');
    const pid = Number(readFileSync(slept, 'utf8'));
    agent.kill('SIGKILL');
    await until(() => !isLiving(pid), 'what it had begun has ended');
  });
});

// Nobody may have collected it.
function isLiving(pid: number): boolean {
  try {
    return /^State:\s+[^Z]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
