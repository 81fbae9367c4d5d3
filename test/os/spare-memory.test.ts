import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';

const MODULE = import.meta.resolve('#moult/os/spare-memory.js');

/**
 * Frees 20 MB in pieces that libc takes from its heap, below one that stays: libc keeps them.
 * @param lookAgain what it does where they have not gone back.
 */
const freeing = (usedMb: number, lookAgain: string) => `
import { readFileSync } from 'node:fs';
import { giveBackSpareMemory } from ${JSON.stringify(MODULE)};
const ownMb = () => Number(/^RssAnon:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const PIECE = 64 * 1024;
globalThis.used = Buffer.alloc(${usedMb} * 1024 * 1024, 1);
let pieces = Array.from({ length: 320 }, () => Buffer.allocUnsafeSlow(PIECE).fill(1));
globalThis.last = pieces.at(-1);
const fullMb = ownMb();
pieces = undefined;
let looks = 0;
const giveBack = () => {
  gc();
  giveBackSpareMemory();
  looks += 1;
  if (fullMb - ownMb() > 15) process.stdout.write('given back');
  else ${lookAgain};
};
giveBack();
`;

function run(program: string, shell = 'exec "$0" "$@"'): string {
  const command = [process.execPath, '--expose-gc', '--input-type=module', '-e', program];
  const args = ['-c', shell, ...command];
  const { stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(stderr, '');
  return stdout;
}

describe('memory that libc keeps although nobody uses it', () => {
  it('goes back to the system', () => {
    assert.equal(run(freeing(0, 'setTimeout(giveBack, 20)')), 'given back');
  });

  it('stays in a large process, which could stand still for it', () => {
    assert.equal(run(freeing(100, 'looks < 10 && setTimeout(giveBack, 20)')), '');
  });

  it('stays where no file can be opened, which tells how large a process is', () => {
    const program = `
import { openSync } from 'node:fs';
import { giveBackSpareMemory } from ${JSON.stringify(MODULE)};
for (let isFull = false; !isFull; ) {
  try {
    openSync('/dev/null', 'r');
  } catch {
    isFull = true;
  }
}
giveBackSpareMemory();
process.stdout.write('goes on');
`;
    assert.equal(run(program, 'ulimit -n 64; exec "$0" "$@"'), 'goes on');
  });
});
