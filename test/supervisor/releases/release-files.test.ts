import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe } from 'node:test';
import { changes, noteFolder, releaseFiles } from '#moult/supervisor/releases/release-files.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { tidy } from '../../support/tidy.js';

/** So many files of installed packages are noted. */
const NOTED = 2000;
const MANY = NOTED + 100;

describe('what is noted of a release', () => {
  tidy('is its own code, and of many installed packages the files nearest to it', async (later) => {
    const root = temporaryFolder(later);
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
      return join(root, path);
    };
    write('package.json', '{}');
    const entry = write('server.js', '1');
    for (let n = 0; n < MANY; n += 1) write(`node_modules/a/lib/deep/${n}.js`, '1');
    for (const path of ['node_modules/z/index.js', 'src/a/b/c/d/own.js']) write(path, '1');
    const release = { cwd: root, files: releaseFiles(['node', entry], root) };
    noteFolder(release);
    assert.deepEqual(await changes(release), []);
    // One that comes keeps none of those from being found that were noted.
    for (let n = 0; n < 20; n += 1) write(`node_modules/b${n}/index.js`, '1');
    assert.deepEqual(await changes(release), []);
    const changed = [write('node_modules/z/index.js', '22'), write('src/a/b/c/d/own.js', '22')];
    assert.deepEqual(await changes(release), changed.sort());
    for (let n = 0; n < MANY; n += 1) write(`node_modules/a/lib/deep/${n}.js`, '22');
    assert.equal((await changes(release)).filter((path) => path.includes('/node_modules/')).length, NOTED);
  });
});
