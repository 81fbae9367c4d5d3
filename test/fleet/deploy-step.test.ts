import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { runDeployStep } from '#moult/fleet/agent/deploy-step.js';
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
  });
});
