import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { FileLock } from '#moult/os/files/file-lock.js';
import { isCloseOnExec, openDescriptors } from '../../support/descriptors.js';
import { fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { tidy } from '../../support/tidy.js';

describe('a file lock', () => {
  tidy('is held by one process at a time, and by the next when it is released', async (later) => {
    const path = join(temporaryFolder(later), 'lock');
    const first = fixture(later, 'hold-lock.mjs', [path]);
    assert.deepEqual(await first.says(), { has: true });
    const second = fixture(later, 'hold-lock.mjs', [path]);
    assert.deepEqual(await second.says(), { has: false });
    assert.equal(FileLock.take(path), undefined);
    first.tell('release');
    assert.deepEqual(await first.says(), { released: true });
    const mine = FileLock.take(path);
    assert.ok(mine !== undefined);
    mine.release();
    mine.release();
  });

  tidy('is taken, and not waited for, where something else lies in the place of its file', (later) => {
    const folder = temporaryFolder(later);
    const path = join(folder, 'lock');
    const places: Record<string, () => void> = {
      'a FIFO': () => execFileSync('mkfifo', [path]),
      'a folder with a file': () => {
        mkdirSync(path);
        writeFileSync(join(path, 'file'), '');
      },
      'a link to nothing': () => symlinkSync(join(folder, 'nothing'), path),
    };
    for (const [what, put] of Object.entries(places)) {
      put();
      const lock = FileLock.take(path);
      assert.equal(lock?.isOf(path), true, what);
      assert.equal(FileLock.take(path), undefined, what);
      lock?.release();
      rmSync(path);
    }
    assert.deepEqual(readdirSync(folder), []);
  });

  tidy('is freed by the kernel when its process is killed', async (later) => {
    const path = join(temporaryFolder(later), 'lock');
    const holder = fixture(later, 'hold-lock.mjs', [path]);
    await holder.says();
    assert.equal(FileLock.take(path), undefined);
    holder.process.kill('SIGKILL');
    await holder.exited;
    const mine = FileLock.take(path);
    assert.ok(mine !== undefined);
    mine.release();
  });

  tidy('is not passed on to the children of its holder', async (later) => {
    const path = join(temporaryFolder(later), 'lock');
    const mine = FileLock.take(path);
    const fd = Number(
      openDescriptors()
        .find((line) => line.endsWith(path))
        ?.split(' ')[0],
    );
    assert.ok(isCloseOnExec(fd));
    const child = fixture(later, 'idle.mjs');
    await child.says();
    mine?.release();
    const other = fixture(later, 'hold-lock.mjs', [path]);
    assert.deepEqual(await other.says(), { has: true });
  });

  tidy('is a file that only its user may read', (later) => {
    const path = join(temporaryFolder(later), 'lock');
    const mine = FileLock.take(path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    mine?.release();
  });

  tidy('in a folder that does not exist is an error, and leaves nothing open', (later) => {
    assert.throws(() => FileLock.take(join(temporaryFolder(later), 'none/lock')), { code: 'ENOENT' });
  });
});
