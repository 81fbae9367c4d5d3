import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { lastErrorName, libc } from '#moult/os/libc.js';
import { root } from '../integration/supervised.js';

const BUILT = dirname(dirname(fileURLToPath(import.meta.resolve('#moult/os/libc.js'))));

describe('memory whose address a system call was given', () => {
  it('is there until the call is over, in optimised code whose garbage is collected', () => {
    const program = join(root, 'test/fixtures/collected-memory.mjs');
    const { stdout, stderr, signal } = spawnSync(process.execPath, [program, BUILT], { encoding: 'utf8' });
    assert.deepEqual({ stdout, stderr, signal }, { stdout: '{}\n', stderr: '', signal: null });
  });
});

describe('why a system call failed', () => {
  it('stays known, whatever Node asks the system for in between', () => {
    assert.equal(libc().close(-1), -1);
    // Leaves ENOENT in errno, as a collection of garbage may.
    assert.equal(existsSync('/moult-has-no-such-file'), false);
    assert.equal(lastErrorName(), 'EBADF');
  });
});
