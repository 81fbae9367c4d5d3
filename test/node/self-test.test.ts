import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { http1Moves } from '#moult/node/self-test.js';
import { fixture } from '../support/fixture.js';
import { tidy } from '../support/tidy.js';

describe('the self-test of moving HTTP/1.1 connections', () => {
  tidy('says yes on this Node, every time, and leaves nothing', async () => {
    for (let i = 0; i < 5; i += 1) assert.equal(await http1Moves(), 'yes');
  });

  tidy('says yes in a few milliseconds, and lets the process end', async (later) => {
    const child = fixture(later, 'self-test.mjs', ['nothing']);
    const { found, ms } = await child.says<{ found: string; ms: number }>();
    assert.equal(found, 'yes');
    // Where it waits for what does not come, it takes 5 seconds.
    assert.ok(ms < 4500, `${ms} ms`);
    assert.equal((await child.exited).code, 0);
  });

  for (const [what, why] of [
    ['list', /between two requests was taken for receiving/],
    ['idle', /idle/],
    ['readStop', /readStop/],
    ['fd', /./],
  ] as const) {
    tidy(`says why when Node has no ${what} as it was, and lets the process end`, async (later) => {
      const child = fixture(later, 'self-test.mjs', [what]);
      const told = await child.says<{ found?: string; uncaught?: string; ms: number }>();
      assert.equal(told.uncaught, undefined);
      assert.notEqual(told.found, 'yes');
      assert.match(told.found ?? '', why);
      assert.ok(told.ms < 5500, `${told.ms} ms`);
      assert.equal((await child.exited).code, 0);
    });
  }

  tidy('does not say yes when freezing a connection keeps nothing in the kernel', async (later) => {
    const child = fixture(later, 'self-test.mjs', ['readStop-does-nothing']);
    const { found } = await child.says<{ found: string }>();
    assert.notEqual(found, 'yes', 'the old connection answered, and was taken for the new one');
  });
});
