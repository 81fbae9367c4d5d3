import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { libc } from '#moult/os/libc.js';
import { readMappedMemory, readMemory } from '#moult/os/processes/own-memory.js';

describe('reads of own memory', () => {
  const known = Buffer.from('known bytes of this process');
  const address = libc().address(known);

  it('give what stands there', () => {
    assert.deepEqual(readMemory(address, known.length), known);
    assert.deepEqual(readMappedMemory(address, known.length), known);
  });

  it('fail, and do not end the process, where nothing is mapped', () => {
    for (const bad of [0n, 8n, 0x1000n, 0x7fff_ffff_f000n, 2n ** 63n, 2n ** 64n - 4096n]) {
      assert.equal(readMemory(bad, 64), undefined);
      assert.equal(readMappedMemory(bad, 64).length, 0);
    }
  });

  it('give as much as is mapped', () => {
    const much = readMappedMemory(address, (1 << 30) >> 2);
    assert.ok(much.length >= known.length);
    assert.deepEqual(much.subarray(0, known.length), known);
  });
});
