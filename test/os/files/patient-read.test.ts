import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { readPatiently } from '#moult/os/files/patient-read.js';
import { libc, O_CLOEXEC } from '#moult/os/libc.js';
import { openDescriptors } from '../../support/descriptors.js';
import { fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { tidy } from '../../support/tidy.js';

describe('a file that is read patiently', () => {
  tidy(
    'is read whole, also from a device, and from a pipe whose writer waits for a reader',
    async (later) => {
      const folder = temporaryFolder(later);
      const [file, pipe] = [join(folder, 'file'), join(folder, 'pipe')];
      writeFileSync(file, 'A=ä\n');
      execFileSync('mkfifo', [pipe]);
      const silent = fixture(later, 'write-to-pipe.mjs', [pipe, '0']);
      assert.equal(readPatiently(pipe, 60_000), '');
      await silent.exited;
      const writer = fixture(later, 'write-to-pipe.mjs', [pipe, '200000']);
      assert.equal(readPatiently(file), 'A=ä\n');
      assert.equal(readPatiently('/dev/null'), '');
      assert.equal(readPatiently(pipe, 60_000), 'x'.repeat(200_000));
      await writer.exited;
    },
  );

  tidy('is empty where it is a pipe without a name that was closed, as of `<(grep X .env)`', () => {
    const ends = new Int32Array(2);
    assert.equal(libc().pipe2(ends, O_CLOEXEC), 0);
    const [from = -1, to = -1] = ends;
    closeDescriptor(to);
    assert.equal(readPatiently(`/proc/self/fd/${from}`), '');
    closeDescriptor(from);
  });

  tidy('says what it is instead, and does not wait for ever', (later) => {
    const folder = temporaryFolder(later);
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const before = openDescriptors();
    assert.throws(() => readPatiently(pipe), /pipe is a pipe, and nothing was written to it within 2000 ms/);
    assert.throws(() => readPatiently(folder), /expected a file, found another kind/);
    assert.throws(() => readPatiently(join(folder, 'none')), /ENOENT/);
    assert.deepEqual(openDescriptors(), before);
  });
});
