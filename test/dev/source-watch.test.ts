import assert from 'node:assert/strict';
import fs, { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe } from 'node:test';
import { SourceWatch } from '#moult/dev/source-watch.js';
import { until } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';

// Node keeps the descriptor of its first watch.
fs.watch('/').close();

const USUAL = { watch: [], ignore: [], ext: [] };

describe('what watches sources', () => {
  tidy('takes folders that are called .gitignore, and links that lead round in a circle', async (later) => {
    const folder = temporaryFolder(later);
    mkdirSync(join(folder, 'sub'));
    mkdirSync(join(folder, 'sub', '.gitignore'));
    symlinkSync('circle.js', join(folder, 'sub', 'circle.js'));
    const said: string[] = [];
    const watch = new SourceWatch(folder, [], USUAL, {
      changed: (path) => said.push(path),
      failed: (error) => said.push(error.message),
    });
    later(() => watch.close());
    await watch.ready;
    writeFileSync(join(folder, 'sub', 'one.js'), '1');
    await until(() => said.length > 0, 'the change is told');
    assert.deepEqual(said, [join(folder, 'sub', 'one.js')]);
  });

  tidy('tells once that it can watch no more, and goes on', async (later) => {
    const folder = temporaryFolder(later);
    for (const name of ['a', 'b']) mkdirSync(join(folder, name));
    const { watch: usual } = fs;
    fs.watch = (() => {
      throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), {
        code: 'ENOSPC',
      });
    }) as typeof fs.watch;
    syncBuiltinESMExports();
    later(() => {
      fs.watch = usual;
      syncBuiltinESMExports();
    });
    const said: string[] = [];
    const watch = new SourceWatch(folder, [], USUAL, {
      changed: () => {},
      failed: (error) => said.push(error.message),
    });
    later(() => watch.close());
    await watch.ready;
    assert.equal(said.length, 1);
    assert.match(said[0] ?? '', /ENOSPC/);
  });
});
