// What is noted of a release when it serves: each way in which a deployment writes over it is seen, and nothing else.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { changes, noteFolders, releaseFiles } from '#moult/supervisor/releases/release-files.js';

let root: string;
let app: string;

function put(name: string, text: string): void {
  const at = path.join(root, name);
  mkdirSync(path.dirname(at), { recursive: true });
  writeFileSync(at, text);
}

const shell = (script: string) => execFileSync('sh', ['-ec', script], { cwd: root });

/** A package of a workspace, which links to another one, and has what services have beside their code. */
function writeAll(): void {
  put('package.json', '{"name":"root"}');
  put('node_modules/above/index.js', '1');
  put('packages/linked/index.js', '1');
  put('app/package.json', '{"name":"app"}');
  put('app/server.cjs', '1');
  put('app/lib/part.js', '1');
  put('app/node_modules/dep/package.json', '{"exports":"./one.js"}');
  put('app/node_modules/dep/one.js', '1');
  put('app/node_modules/dep/README.md', '1');
  put('app/views/page.ejs', '1');
  put('app/config/default.json', '1');
  for (const name of ['config.json', '.env', 'page.txt', 'state.json', 'app.db', 'data/x.json', 'logs/x.js'])
    put(`app/${name}`, '1');
  put('old/part.js', '1');
  put('new/part.js', '2');
  put('shared/upload.txt', '1');
  shell(`
    mkdir -p app/node_modules && ln -s ../../packages/linked app/node_modules/linked
    ln -s ../shared app/uploaded && ln -s ../old app/behind && ln -s ../../old/part.js app/lib/named.js
    touch -d @500000000 old/part.js new/part.js app/lib/part.js`);
}

/** A release that serves from now on; as its supervisor knows it, or as one that has adopted it does. */
async function serving(sinceMs?: number): Promise<{ cwd: string; files: Record<string, string | null> }> {
  const release = { cwd: '/', files: { ...releaseFiles([path.join(app, 'server.cjs')], '/') } };
  noteFolders(release, path.join(app, 'server.cjs'), sinceMs);
  assert.deepEqual(await changes(release), []);
  return release;
}

describe('what is noted of a release', () => {
  before(() => {
    root = realpathSync(mkdtempSync(path.join(tmpdir(), 'moult-files-')));
    app = path.join(root, 'app');
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  const seen: [string, string, string][] = [
    ['its code', 'echo 2 > app/lib/part.js', 'app/lib/part.js'],
    [
      'its code, of the same size and time',
      'cp -p new/part.js app/lib/part.js; test "$(stat -c %Y app/lib/part.js)" = 500000000',
      'app/lib/part.js',
    ],
    ['a package that it has, which has other exports', 'echo {} > app/node_modules/dep/package.json', ''],
    ['a package that is linked, as in a workspace', 'echo 2 > packages/linked/index.js', ''],
    ['a package above it', 'echo 2 > node_modules/above/index.js', ''],
    ['code behind a link to a folder', 'echo 2 > old/part.js', ''],
    ['where a link to a folder leads', 'ln -sfn ../new app/behind', ''],
    ['where a link to a file leads', 'ln -sfn ../../new/part.js app/lib/named.js', 'app/lib/named.js'],
    ['a file that was removed', 'rm app/lib/part.js', 'app/lib/part.js'],
  ];
  for (const [what, change, named] of seen) {
    it(`tells a change of ${what}`, async () => {
      shell('rm -rf ./* app/.env');
      writeAll();
      const release = await serving();
      shell(change);
      const found = await changes(release);
      assert.ok(found.length > 0);
      if (named !== '') assert.deepEqual(found, [path.join(root, named)]);
    });
  }

  it('tells a change of what it reads, where another release serves from the same folder', async () => {
    for (const name of ['views/page.ejs', 'config/default.json', 'config.json', '.env', 'page.txt']) {
      shell('rm -rf ./* app/.env');
      writeAll();
      const release = await serving();
      put(`app/${name}`, '2');
      assert.deepEqual(await changes(release), [], 'its service may have written that');
      assert.deepEqual(await changes(release, await serving()), [path.join(app, name)]);
    }
  });

  it('tells none of what services write, of what came beside it, and of files that are as they were', async () => {
    shell('rm -rf ./* app/.env');
    writeAll();
    const release = await serving();
    for (const name of ['state.json', 'app.db', 'data/x.json', 'logs/x.js', 'lib/new.js'])
      put(`app/${name}`, '2');
    put('app/node_modules/dep/README.md', '2');
    put('shared/upload.txt', '2');
    // As package managers, backups and builds do.
    shell(`ln app/node_modules/dep/one.js other; chmod -R g+w app
      rm app/lib/part.js; echo -n 1 > app/lib/part.js`);
    assert.deepEqual(await changes(release, await serving()), []);
  });

  it('tells what was changed since it serves, to a supervisor that has met it later', async () => {
    shell('rm -rf ./* app/.env');
    writeAll();
    const since = Date.now() + 1;
    assert.ok(await serving(since + 60_000));
    while (Date.now() <= since + 20) await new Promise((resolve) => setImmediate(resolve));
    put('app/lib/part.js', '2');
    const release = { cwd: '/', files: releaseFiles([path.join(app, 'server.cjs')], '/') };
    noteFolders(release, undefined, since + 10);
    assert.deepEqual(await changes(release), [path.join(app, 'lib/part.js')]);
  });
});
