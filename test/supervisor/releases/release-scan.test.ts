import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe } from 'node:test';
import { scanRelease } from '#moult/supervisor/releases/release-scan.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { tidy } from '../../support/tidy.js';

describe('what is copied of a release', () => {
  tidy('is each folder with code, in whatever language, and no folder with data alone', async (later) => {
    const root = temporaryFolder(later);
    for (const path of ['server.js', 'pages/index.php', 'jobs/run.pl', 'lib/app.jar', 'notes/1.txt']) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), '1');
    }
    const scan = await scanRelease(root, []);
    const copied = scan?.copied.map(({ path }) => path) ?? [];
    for (const path of ['pages/index.php', 'jobs/run.pl', 'lib/app.jar'])
      assert.ok(copied.includes(path), path);
    assert.deepEqual(scan?.shared, ['notes']);
  });
});
