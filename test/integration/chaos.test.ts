import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { root } from './supervised.js';

const { runChaos } = (await import(
  pathToFileURL(path.join(root, 'test/fixtures/faults/chaos.mjs')).href
)) as {
  runChaos(options: {
    seed: number;
    minutes: number;
    steps: number;
    say(text: string): void;
  }): Promise<{ steps: number; answered: number; unexplained: string[] }>;
};

// A night of it: node proofs/chaos.mjs --minutes 60
describe('a little chaos', () => {
  it('costs nothing that was not in a process that was killed', async () => {
    const said: string[] = [];
    const { steps, answered, unexplained } = await runChaos({
      seed: 1,
      minutes: 3,
      steps: 6,
      say: (text) => said.push(text),
    });
    assert.deepEqual(unexplained, [], said.join('\n'));
    assert.equal(steps, 6);
    assert.ok(answered > 100);
  });
});
