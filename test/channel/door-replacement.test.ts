import assert from 'node:assert/strict';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { type DoorHolder, DoorReplacement } from '#moult/channel/door-replacement.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';

const holderAt = (runFolder: string, door: string): DoorHolder => ({
  number: 2,
  door,
  runFolder,
  takesDoor: true,
  isOurs: true,
  isReachable: true,
});

describe('a socket that is bound for a generation', () => {
  tidy(
    'is one in the run folder, under the name of such sockets, and no other that it says',
    async (later) => {
      const [folder, elsewhere] = [temporaryFolder(later), temporaryFolder(later)];
      mkdirSync(join(folder, 'kept'));
      symlinkSync(elsewhere, join(folder, 'link'));
      const needs = (door: string) => new DoorReplacement(holderAt(folder, door), async () => {}).isNeeded;
      assert.equal(needs(join(folder, 'g2-77.sock')), true);
      for (const door of [
        join(elsewhere, 'g2-77.sock'),
        join(folder, 'kept/g2-77.sock'),
        join(folder, 'link/g2-77.sock'),
        `${folder}/../${folder.split('/').at(-1)}/kept/../g2-77.sock`,
        join(folder, 'g3-77.sock'),
        join(folder, 'control.sock'),
        join(folder, 'g2-77.sock.lock'),
      ])
        assert.equal(needs(door), false, door);
    },
  );

  tidy('is removed again where the generation does not listen there', async (later) => {
    const folder = temporaryFolder(later);
    const door = join(folder, 'g2-77.sock');
    const given: boolean[] = [];
    const replacement = new DoorReplacement(holderAt(folder, door), async () => {
      given.push(existsSync(door));
      throw new Error('it does not answer');
    });
    const made = replacement.make(1000);
    assert.equal(replacement.isUnderWay, true);
    await assert.rejects(made, { message: 'it does not answer' });
    assert.deepEqual(given, [true]);
    assert.equal(existsSync(door), false);
    assert.equal(replacement.isUnderWay, false);
  });
});
