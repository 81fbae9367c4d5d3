import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { descriptorRoom } from '#moult/os/descriptors/descriptor-room.js';
import { outOfDescriptors } from '#moult/os/descriptors/shortage.js';

const system = (code: string) => Object.assign(new Error(`${code}: open 'x'`), { code });

describe('an error for want of descriptors', () => {
  it('is told as such, also where it was told as another', () => {
    const { limit } = descriptorRoom(process.pid) ?? {};
    const call = new MoultError('MOULT_SYSTEM_CALL', 'socket failed with EMFILE', {
      details: { call: 'socket', reason: 'EMFILE' },
    });
    const file = new MoultError('MOULT_OUTPUT_FILE', 'the output file cannot be opened', {
      cause: system('EMFILE'),
    });
    for (const error of [system('EMFILE'), call, file]) {
      const told = outOfDescriptors(error);
      assert.equal(told?.code, 'MOULT_DESCRIPTORS');
      assert.equal(told.serving, 'unchanged');
      assert.equal(
        told.message,
        `${error.message}: process ${process.pid} may open no more files than ${limit}`,
      );
    }
    assert.match(
      outOfDescriptors(system('ENFILE'), 'this')?.message ?? '',
      /^this: the system has no open files/,
    );
  });

  it('is none of another kind, and none that says so already', () => {
    const told = new MoultError('MOULT_DESCRIPTORS', 'it has none', { cause: system('EMFILE') });
    for (const error of [system('ENOENT'), new Error('x'), 'EMFILE', undefined, told])
      assert.equal(outOfDescriptors(error), undefined);
  });
});
