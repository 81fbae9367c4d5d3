import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';

const MODULE = import.meta.resolve('#moult/os/spare-memory.js');

/** Frees 20 MB in pieces that libc takes from its heap, below one that stays: libc keeps them. */
const PROGRAM = `
import { readFileSync } from 'node:fs';
import { giveBackSpareMemory } from ${JSON.stringify(MODULE)};
const ownMb = () => Number(/^RssAnon:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const PIECE = 64 * 1024;
let pieces = Array.from({ length: 320 }, () => Buffer.allocUnsafeSlow(PIECE).fill(1));
globalThis.last = pieces.at(-1);
const fullMb = ownMb();
pieces = undefined;
const giveBack = () => {
  gc();
  giveBackSpareMemory();
  const backMb = fullMb - ownMb();
  if (backMb > 15) process.stdout.write('given back');
  else setTimeout(giveBack, 20);
};
giveBack();
`;

describe('memory that libc keeps although nobody uses it', () => {
  it('goes back to the system', () => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--expose-gc', '--input-type=module', '-e', PROGRAM],
      { encoding: 'utf8', timeout: 60_000 },
    );
    assert.equal(stdout, 'given back', stderr);
  });
});
