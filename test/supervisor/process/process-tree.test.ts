import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { fixture } from '../../support/fixture.js';
import { tidy } from '../../support/tidy.js';

describe('a process that another program of the supervisor started', () => {
  tidy('has ended when all its threads have, and is collected then', async (later) => {
    const adopts = fixture(later, 'adopt-after-exec.mjs');
    assert.deepEqual(await adopts.says(), { exit: { code: null, signal: 'SIGKILL' }, isLeft: false });
    await adopts.exited;
  });

  tidy('has not ended while there is no descriptor to look with', async (later) => {
    const adopts = fixture(later, 'adopt-without-descriptors.mjs');
    assert.deepEqual(await adopts.says(), { wasTakenForEnded: false });
    await adopts.exited;
  });
});
