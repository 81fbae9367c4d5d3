import assert from 'node:assert/strict';
import { chmodSync, lchownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ownersOf } from '#moult/channel/private-folder.js';

const isRoot = process.getuid?.() === 0;

describe('who may listen at a socket in a private folder', { skip: isRoot ? false : 'needs root' }, () => {
  const [one, other, gid] = [41_001, 41_002, 41_000];
  let folder: string;
  let socket: string;

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'moult-owners-'));
    socket = path.join(folder, 'control.sock');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    server.unref();
    lchownSync(socket, other, gid);
    lchownSync(folder, one, gid);
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  it('is whoever of its group has put it there, too', () => {
    chmodSync(folder, 0o2770);
    assert.deepEqual(ownersOf(folder, socket), [one, other]);
  });

  for (const mode of [0o700, 0o750, 0o770 | 0o001, 0o775, 0o777]) {
    it(`is its owner alone with mode 0${mode.toString(8)}`, () => {
      chmodSync(folder, mode);
      assert.deepEqual(ownersOf(folder, socket), [one]);
    });
  }

  it('is its owner alone where there is no socket', () => {
    chmodSync(folder, 0o770);
    rmSync(socket);
    assert.deepEqual(ownersOf(folder, socket), [one]);
    writeFileSync(socket, '');
    lchownSync(socket, other, gid);
    assert.deepEqual(ownersOf(folder, socket), [one]);
  });
});
