import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs, { readdirSync, statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { forgetOldOutput, KeptOutput, keptName } from '#moult/logs/kept-output.js';
import { KeptReader, lastKept } from '#moult/logs/kept-reader.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folderOf = (t: TestContext) => temporaryFolder((end) => t.after(end));
const texts = (reader: KeptReader) => reader.read().map(({ text }) => text);

describe('kept output', () => {
  it('that cannot be read just now throws at nobody who decides what follows from an end', (t) => {
    const folder = folderOf(t);
    const one = new KeptOutput(join(folder, keptName(1)));
    one.add('stdout', 'last words\n');
    one.close();
    assert.deepEqual(lastKept(folder, 1, 0, 20), ['last words']);
    for (const call of ['fstatSync', 'readSync', 'openSync', 'readdirSync'] as const) {
      const broken = t.mock.method(fs, call, () => {
        throw Object.assign(new Error(`EACCES: injected, ${call}`), { code: 'EACCES' });
      });
      syncBuiltinESMExports();
      try {
        const lines = lastKept(folder, 1, 0, 20) ?? [];
        assert.deepEqual(lines, []);
      } finally {
        broken.mock.restore();
        syncBuiltinESMExports();
      }
    }
    assert.deepEqual(lastKept(folder, 1, 0, 20), ['last words']);
  });

  it('is read as it was written, whatever the chunks, by generation and as it goes on', (t) => {
    const folder = folderOf(t);
    const one = new KeptOutput(join(folder, keptName(1)));
    const two = new KeptOutput(join(folder, keptName(2)));
    const all = new KeptReader(folder);
    const bytes = Buffer.from('grün\nzwei\0\ndr');
    for (const byte of bytes) one.add('stdout', Uint8Array.of(byte));
    two.add('stderr', 'failed\n');
    const read = all.read();
    assert.deepEqual(
      read.map(({ generation, stream, text }) => [generation, stream, text]),
      [
        [1, 'stdout', 'grün'],
        [1, 'stdout', 'zwei\u2400'],
        [2, 'stderr', 'failed'],
      ],
    );
    one.add('stdout', 'ei\n');
    assert.deepEqual(texts(all), ['drei']);
    assert.deepEqual(texts(all), []);
    one.add('stdout', 'no end');
    one.close();
    two.close();
    assert.deepEqual(texts(all), ['no end']);
    assert.deepEqual(texts(new KeptReader(folder, 2)), ['failed']);
  });

  it('is bounded on the disk, and what is left of it are whole lines, the last ones', (t) => {
    const folder = folderOf(t);
    const path = join(folder, keptName(1));
    const kept = new KeptOutput(path);
    const most = 60_000;
    for (let n = 0; n < most; n += 1) kept.add('stdout', `line ${n} ${'x'.repeat(40)}\n`);
    kept.close();
    const { blocks, size } = statSync(path);
    assert.ok(size > 3_000_000 || blocks === 0, `${size} bytes`);
    assert.ok(blocks * 512 < 400_000, `${blocks * 512} bytes on the disk`);
    const lines = texts(new KeptReader(folder));
    assert.ok(lines.length > 1000);
    const first = Number(lines[0]?.split(' ')[1]);
    const expected = Array.from({ length: most - first }, (_, i) => `line ${first + i} ${'x'.repeat(40)}`);
    assert.deepEqual(lines, expected);
  });

  it('is that of the last four generations that have ended, and of all that live', (t) => {
    const folder = folderOf(t);
    for (let n = 1; n <= 12; n += 1) writeFileSync(join(folder, keptName(n)), '');
    writeFileSync(join(folder, keptName('moult')), '');
    forgetOldOutput(folder, new Set([2, 12]));
    const left = readdirSync(folder).sort();
    const numbers = [2, 8, 9, 10, 11, 12];
    assert.deepEqual(left, [...numbers.map(keptName), keptName('moult')].sort());
  });

  it('is none where a pipe lies in the place of its file, which is not waited for', (t) => {
    const folder = folderOf(t);
    const path = join(folder, keptName(1));
    execFileSync('mkfifo', [path]);
    const kept = new KeptOutput(path);
    for (let n = 0; n < 100; n += 1) kept.add('stdout', `${'x'.repeat(1000)}\n`);
    kept.close();
    assert.deepEqual(new KeptReader(folder).read(), []);
  });

  it('is none where its folder cannot be written', (t) => {
    const kept = new KeptOutput(join(folderOf(t), 'missing', keptName(1)));
    kept.add('stdout', 'one\n');
    kept.close();
  });
});
