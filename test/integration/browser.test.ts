import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { lacks } from '../support/debian.js';
import { root, runNode } from './supervised.js';

interface Found {
  readonly moved: number;
  readonly lines: number;
  readonly problems: readonly string[];
}

const RESTARTS = 5;

describe('Chromium, with a WebSocket and an EventSource in each of two windows', {
  skip: lacks('chromium'),
}, () => {
  it('sees neither close over five restarts, and no line of the chat lost, doubled or out of order', async () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const args = [path.join(root, 'proofs/browser.mjs'), '--json', '--restarts', String(RESTARTS)];
    const { stdout, stderr } = await runNode(args, env);
    assert.equal(stderr, '');
    const found = JSON.parse(stdout) as Found;
    assert.deepEqual(found.problems, []);
    assert.equal(found.lines, RESTARTS + 2);
    assert.ok(found.moved >= RESTARTS * 4, 'all four moved at each restart');
  });
});
