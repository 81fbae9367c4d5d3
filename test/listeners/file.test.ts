import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { isCloseOnExec, whatIs } from '../support/descriptors.js';
import { fixture } from '../support/fixture.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { GenerationOfListeners } from './two-generations.js';

/** What a generation gets for a file of this path. */
function fileOf(
  later: Later,
  generation: GenerationOfListeners,
  path: string,
): { fd: number; opened: boolean } {
  let opened = false;
  const fd = generation.registry.file('log', () => {
    opened = true;
    return openSync(path, 'a');
  });
  later(() => closeSync(fd));
  return { fd, opened };
}

describe('an open file of the service', () => {
  tidy('is opened by the first generation, and the same in the next', async (later) => {
    const folder = temporaryFolder(later);
    const one = new GenerationOfListeners(later);
    const first = fileOf(later, one, join(folder, 'log'));
    assert.equal(first.opened, true);
    assert.deepEqual(one.told, ['bound file:log']);
    const two = new GenerationOfListeners(later, one);
    assert.deepEqual(two.registry.inherited.unclaimed(), [], 'nobody waits for it');
    const second = fileOf(later, two, join(folder, 'another'));
    assert.equal(second.opened, false);
    assert.equal(whatIs(second.fd), join(folder, 'log'));
    assert.ok(isCloseOnExec(second.fd));
    assert.deepEqual(two.registry.sockets(), [], 'it is no socket');
  });

  tidy('is asked for twice and is the same, as a descriptor of its own', async (later) => {
    const path = join(temporaryFolder(later), 'log');
    const one = new GenerationOfListeners(later);
    const first = fileOf(later, one, path);
    const again = fileOf(later, one, path);
    assert.equal(again.opened, false);
    assert.notEqual(again.fd, first.fd);
    assert.equal(whatIs(again.fd), path);
  });

  tidy('that nobody claims is closed with what was inherited', async (later) => {
    const path = join(temporaryFolder(later), 'log');
    const one = new GenerationOfListeners(later);
    fileOf(later, one, path);
    const two = new GenerationOfListeners(later, one);
    two.registry.dropUnclaimed();
    assert.equal(fileOf(later, two, path).opened, true);
  });

  tidy('is not left open where there is no room for a copy, and can be opened later', async (later) => {
    const running = fixture(later, 'file-without-room.mjs', [], { maxDescriptors: 60 });
    assert.deepEqual(await running.says(), { code: 'MOULT_SYSTEM_CALL', hasRoom: true, told: [] });
    assert.deepEqual(await running.says(), { told: ['file:log'] });
    assert.equal((await running.exited).code, 0);
  });
});
