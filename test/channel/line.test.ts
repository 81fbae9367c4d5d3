import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { localLine } from '#moult/channel/line.js';
import { isOpen, whatIs } from '../support/descriptors.js';
import { fixture } from '../support/fixture.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';

const listener = { name: 'tcp://*:1', family: 'tcp', backlog: 0, path: null } as const;

describe('a line within a process', () => {
  tidy('brings messages in order, after the call that sent them', async () => {
    const [near, far] = localLine();
    const heard: string[] = [];
    far.on('release', ({ name }) => heard.push(name));
    for (const name of ['a', 'b', 'c']) near.send({ type: 'release', name });
    assert.deepEqual(heard, []);
    await Promise.resolve();
    assert.deepEqual(heard, ['a', 'b', 'c']);
  });

  tidy('drops what nobody handles, at that moment', async () => {
    const [near, far] = localLine();
    near.send({ type: 'release', name: 'a' });
    await Promise.resolve();
    far.on('release', () => assert.fail('it was sent before'));
    await Promise.resolve();
    far.off('release');
    near.send({ type: 'release', name: 'b' });
    await Promise.resolve();
  });

  tidy('brings a copy of a descriptor that its sender closes at once', async (later) => {
    const path = join(temporaryFolder(later), 'file');
    writeFileSync(path, 'mine');
    const [near, far] = localLine();
    let taken = -1;
    far.on('hold', (_, incoming) => {
      [taken = -1] = incoming.take();
    });
    const mine = openSync(path, 'r');
    near.send({ type: 'hold', listener }, [mine]);
    closeSync(mine);
    // The number comes to mean another file before the message is heard.
    const other = openSync('/dev/null', 'r');
    assert.equal(other, mine);
    await Promise.resolve();
    assert.equal(whatIs(taken), path);
    assert.equal(readFileSync(taken, 'utf8'), 'mine');
    for (const fd of [taken, other]) closeSync(fd);
  });

  tidy('closes the copies that nobody takes', async () => {
    const [near, far] = localLine();
    let count = 0;
    far.on('hold', (_, incoming) => {
      count = incoming.count;
    });
    near.send({ type: 'hold', listener }, [1, 2]);
    await Promise.resolve();
    assert.equal(count, 2);
    assert.ok(isOpen(1) && isOpen(2));
  });

  tidy('brings none where this process may open no more, and does not end it', async (later) => {
    const running = fixture(later, 'line-without-room.mjs', [], { maxDescriptors: 40 });
    assert.deepEqual(await running.says(), { taken: 0, truncated: true });
    assert.equal((await running.exited).code, 0);
  });
});
