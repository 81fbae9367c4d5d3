import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { startTicks } from '#moult/os/processes/process.js';
import { CARRIED_FORMAT, variablesOf } from '#moult/supervisor/upgrade/next-program.js';
import { cli, runNode, withFolder } from '../../integration/supervised.js';

/** The program that `moult upgrade` would become, told of a generation of which its journal says nothing. */
async function rehearse(
  pid: number,
  ticks: number | undefined,
): Promise<{ code: number | null; stderr: string }> {
  let said: { code: number | null; stderr: string } | undefined;
  await withFolder(async (folder) => {
    const script = path.join(folder, 'service.js');
    writeFileSync(script, '');
    const living = [{ generation: 3, pid, ticks }];
    const carried = { format: CARRIED_FORMAT, lock: -1, living, cwd: folder, held: [], manager: null };
    const env = { ...process.env, NODE_OPTIONS: '', XDG_RUNTIME_DIR: folder, ...variablesOf(carried) };
    said = await runNode([cli, 'rehearse', '--name', 'service', script], env, process.execPath, folder);
  });
  assert.ok(said);
  return said;
}

describe('the next program of a supervisor', () => {
  it('takes over only where it finds every generation that lives', async () => {
    const { code, stderr } = await rehearse(process.pid, startTicks(process.pid));
    assert.equal(code, 1);
    assert.match(stderr, /generation 3 lives, and this version does not find it/);
  });

  it('misses none that has ended since it was counted', async () => {
    const { code, stderr } = await rehearse(process.pid, (startTicks(process.pid) ?? 0) - 1);
    assert.equal(code, 0, stderr);
  });
});
