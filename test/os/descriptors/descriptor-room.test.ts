import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { it } from 'node:test';
import { descriptorRoom } from '#moult/os/descriptors/descriptor-room.js';

it('the room of a process for descriptors is what is free below its limit', () => {
  const before = descriptorRoom(process.pid);
  const opened = [openSync('/dev/null', 'r'), openSync('/dev/null', 'r')];
  const after = descriptorRoom(process.pid);
  for (const fd of opened) closeSync(fd);
  assert.ok(before !== undefined && after !== undefined);
  assert.equal(after.limit, before.limit);
  assert.equal(after.free, before.free - opened.length);
  assert.equal(descriptorRoom(2 ** 30), undefined);
});
