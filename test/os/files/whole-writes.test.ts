import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { WholeWrites } from '#moult/os/files/whole-writes.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

/** Files to write to, one after another; the first is a disk that is full. */
class Files {
  readonly #folder: string;
  readonly #fds: number[] = [];
  now = -1;

  constructor(t: TestContext) {
    this.#folder = temporaryFolder((end) => t.after(end));
    t.after(() => this.#fds.forEach(closeSync));
  }

  use(name: string): void {
    this.now = openSync(name === 'full' ? '/dev/full' : join(this.#folder, name), 'a');
    this.#fds.push(this.now);
  }

  read(name: string): string {
    return readFileSync(join(this.#folder, name), 'utf8');
  }
}

const written = (writes: WholeWrites, text: string) =>
  new Promise<unknown>((done) => writes.write(Buffer.from(text), done));

describe('whole writes', () => {
  it('exchange the file at once after a line that has its end', async (t) => {
    const files = new Files(t);
    files.use('a');
    const writes = new WholeWrites(() => files.now);
    await written(writes, 'one\n');
    writes.betweenLines(() => files.use('b'), 60_000);
    await written(writes, 'two\n');
    assert.deepEqual([files.read('a'), files.read('b')], ['one\n', 'two\n']);
  });

  it('exchange it behind the end of the line that is being written, for all who asked', async (t) => {
    const files = new Files(t);
    files.use('a');
    const writes = new WholeWrites(() => files.now);
    const asked: number[] = [];
    await written(writes, 'one\ntw');
    writes.betweenLines(() => asked.push(1), 60_000);
    writes.betweenLines(() => {
      asked.push(2);
      files.use('b');
    }, 60_000);
    await written(writes, 'o, and m');
    assert.deepEqual(asked, []);
    await written(writes, 'ore\n');
    assert.deepEqual(asked, [1, 2]);
    await written(writes, 'three\n');
    assert.deepEqual([files.read('a'), files.read('b')], ['one\ntwo, and more\n', 'three\n']);
  });

  it('exchange it all the same where the line has no end for too long', async (t) => {
    const files = new Files(t);
    files.use('a');
    const writes = new WholeWrites(() => files.now);
    await written(writes, 'name? ');
    await new Promise<void>((done) => {
      writes.betweenLines(done, 1);
      setTimeout(() => {}, 60_000).unref();
      const alive = setInterval(() => {}, 1000);
      t.after(() => clearInterval(alive));
    });
    assert.equal(files.read('a'), 'name? ');
  });

  it('wait for room on a full disk, say so once, and lose nothing', async (t) => {
    const files = new Files(t);
    files.use('full');
    const told: unknown[] = [];
    const writes = new WholeWrites(() => files.now, { onFull: ({ code }) => told.push(code) });
    const isWritten = written(writes, 'one\n');
    writes.flush();
    writes.flush();
    assert.deepEqual(told, ['ENOSPC']);
    files.use('a');
    writes.flush();
    await isWritten;
    await written(writes, 'two\n');
    assert.equal(files.read('a'), 'one\ntwo\n');
    files.use('full');
    const again = written(writes, 'three\n');
    assert.deepEqual(told, ['ENOSPC', 'ENOSPC']);
    files.use('a');
    writes.flush();
    await again;
    assert.equal(files.read('a'), 'one\ntwo\nthree\n');
  });

  it('drop what is more than may wait, and write how many lines that were', async (t) => {
    const files = new Files(t);
    files.use('full');
    let waiting = 0;
    const writes = new WholeWrites(() => files.now, { waiting: () => waiting, mostWaiting: 100 });
    waiting = 101;
    await written(writes, 'one\ntwo\n');
    await written(writes, 'three\n');
    waiting = 0;
    files.use('a');
    await written(writes, 'four\n');
    await written(writes, 'five\n');
    assert.equal(files.read('a'), '[moult: 3 lines were not written: the disk was full]\nfour\nfive\n');
  });

  it('tell of an error that does not pass', async () => {
    const writes = new WholeWrites(() => 99_999);
    const error = (await written(writes, 'one\n')) as NodeJS.ErrnoException;
    assert.equal(error.code, 'EBADF');
  });
});
