import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { root, until, withFolder, within } from '../../integration/supervised.js';

describe('the output of a service', () => {
  it('goes elsewhere after what the reader of the old one had not taken yet, and none of it is lost', () =>
    goesElsewhere());

  it('does so also when no descriptor is left', () => goesElsewhere('full'));
});

async function goesElsewhere(...more: string[]): Promise<void> {
  await withFolder(async (folder) => {
    const file = path.join(folder, 'output');
    // Nothing of this process's own is loaded there: it could use the output first.
    const service = fork(path.join(root, 'test/fixtures/direct-output.mjs'), [file, ...more], {
      silent: true,
      execArgv: [],
    });
    try {
      service.stderr?.resume();
      let bytes = 0;
      const read = (chunk: Buffer | null) => {
        bytes += chunk?.length ?? 0;
      };
      await within('the service asks', once(service, 'message'));
      // A reader that takes little more than what the service waits for: the old output is all but full again.
      await until('the output goes elsewhere', () => {
        if (existsSync(file) && readFileSync(file, 'utf8') === 'after\n') return true;
        read(service.stdout?.read() as Buffer | null);
        return false;
      });
      service.stdout?.on('data', read);
      service.send('has it nothing to do now?');
      const [usedUs] = (await within('the service has measured', once(service, 'message'))) as [number];
      // All of the time, if the kernel told again and again of the output that it had left.
      assert.ok(usedUs < 250_000, `${usedUs} us`);
      const [code] = await within('the service has said all', once(service, 'close'));
      assert.equal(code, 0);
      assert.equal(bytes, 360_000);
    } finally {
      service.kill('SIGKILL');
    }
  });
}
