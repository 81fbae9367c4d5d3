import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { root } from './supervised.js';

const proof = path.join(root, 'proofs/versions.mjs');
const landed = /LANDED = '([0-9a-f]+)'/.exec(readFileSync(proof, 'utf8'))?.[1] ?? '';
const isHere = spawnSync('git', ['cat-file', '-e', `${landed}^{commit}`], { cwd: root }).status === 0;
const skip = isHere ? false : `this clone does not have the commit ${landed} of the last release`;

// More rounds, other commits: node proofs/versions.mjs
describe('the last release and this one', () => {
  it('take over from each other, and the last one is upgraded in place, with nothing failed', {
    skip,
  }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [proof, landed, '2'], { cwd: root });
    assert.equal(stdout.match(/^.*: .*\b0 failed\b.*$/gm)?.length, 2, stdout);
  });
});
