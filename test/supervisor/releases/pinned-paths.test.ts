import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { pinCommand } from '#moult/supervisor/releases/pinned-paths.js';
import { resolveRelease } from '#moult/supervisor/releases/release.js';
import { changedFiles, folderOf, releaseFiles } from '#moult/supervisor/releases/release-files.js';
import { pointAt } from '../../integration/supervised.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

/** Two releases of each kind of program in a folder, and the link `current` that leads to the first. */
function releases(later: Later): string {
  const folder = realpathSync(temporaryFolder(later));
  const put = (path: string, text: string, mode = 0o755) => {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
    chmodSync(join(folder, path), mode);
  };
  for (const release of ['v1', 'v2']) {
    put(`${release}/package.json`, '{"name":"app"}', 0o644);
    put(`${release}/bin/www`, '#!/usr/bin/env node\n');
    put(`${release}/bin/by-link`, `#!${folder}/current/venv/bin/python -u\n`);
    put(`${release}/bin/program`, '\x7fELF');
    put(`${release}/app.py`, '', 0o644);
    put(`${release}/conf.py`, '', 0o644);
    put(`${release}/node_modules/x/package.json`, '{"name":"x"}', 0o644);
    put(`${release}/node_modules/x/bin/x`, '#!/usr/bin/env node\n');
    put(`${release}/venv/pyvenv.cfg`, '', 0o644);
    mkdirSync(join(folder, release, 'venv/bin'));
    symlinkSync('/usr/bin/env', join(folder, release, 'venv/bin/python'));
    mkdirSync(join(folder, release, 'node_modules/.bin'));
    symlinkSync('../x/bin/x', join(folder, release, 'node_modules/.bin/x'));
  }
  symlinkSync('v1', join(folder, 'current'));
  symlinkSync('v1/bin/program', join(folder, 'server'));
  symlinkSync('v1/bin/www', join(folder, 'www'));
  symlinkSync('v1/app.py', join(folder, 'app.py'));
  return folder;
}

/** What is written, and what is started. FOLDER stands for where all lies. */
const written: [string, string[], string[]][] = [
  [
    "a package's bin",
    ['FOLDER/current/node_modules/x/bin/x', '--on'],
    ['FOLDER/v1/node_modules/x/bin/x', '--on'],
  ],
  ['a link in .bin', ['FOLDER/current/node_modules/.bin/x'], ['FOLDER/v1/node_modules/.bin/x']],
  ['a relative path', ['current/bin/www'], ['FOLDER/v1/bin/www']],
  ['a program whose own link is switched', ['FOLDER/server', 'x'], ['FOLDER/v1/bin/program', 'x']],
  ['a script whose own link is switched', ['./www'], ['FOLDER/v1/bin/www']],
  ['what PATH leads to', ['x', '1'], ['FOLDER/v1/node_modules/.bin/x', '1']],
  ['a script for Node without an extension', ['node', 'current/bin/www'], ['node', 'FOLDER/v1/bin/www']],
  [
    'flags before it',
    ['node', '--enable-source-maps', 'current/bin/www'],
    ['node', '--enable-source-maps', 'FOLDER/v1/bin/www'],
  ],
  ['a folder for Node', ['node', 'current'], ['node', 'FOLDER/v1']],
  [
    'a script of an interpreter',
    ['/usr/bin/env', 'FOLDER/current/app.py'],
    ['/usr/bin/env', 'FOLDER/v1/app.py'],
  ],
  ['one whose own link is switched', ['/usr/bin/env', 'app.py'], ['/usr/bin/env', 'FOLDER/v1/app.py']],
  [
    'that of another folder',
    ['v2/venv/bin/python', 'current/app.py'],
    ['v2/venv/bin/python', 'FOLDER/v1/app.py'],
  ],
  [
    'the Python of a virtual environment',
    ['current/venv/bin/python', 'current/app.py'],
    ['FOLDER/v1/venv/bin/python', 'FOLDER/v1/app.py'],
  ],
  [
    'options with paths',
    ['sh', '-c', 'x', '--chdir=FOLDER/current', '-c', 'FOLDER/current/conf.py'],
    ['sh', '-c', 'x', '--chdir=FOLDER/v1', '-c', 'FOLDER/v1/conf.py'],
  ],
  [
    'a folder for npm',
    ['env', '--prefix', 'FOLDER/current', 'start'],
    ['env', '--prefix', 'FOLDER/v1', 'start'],
  ],
  [
    'a script whose interpreter is behind the link',
    ['current/bin/by-link', 'a'],
    ['FOLDER/v1/venv/bin/python', '-u', 'FOLDER/v1/bin/by-link', 'a'],
  ],
];

describe('a command that names a link', () => {
  tidy('is pinned to where it leads, whatever kind of program it starts', (later) => {
    const folder = releases(later);
    const fill = (words: readonly string[]) => words.map((word) => word.replace('FOLDER', folder));
    const env = { PATH: `${folder}/current/node_modules/.bin:/usr/bin:/bin` };
    for (const [what, words, expected] of written) {
      const { command, args } = pinCommand({ words: fill(words), cwd: folder, env });
      assert.deepEqual([command, ...args], fill(expected), what);
    }
  });

  tidy('stays as it was written where no link of a release is in it', (later) => {
    const folder = releases(later);
    mkdirSync(join(folder, 'disk'));
    symlinkSync('disk', join(folder, 'data'));
    symlinkSync('disk/latest', join(folder, 'conf'));
    writeFileSync(join(folder, 'disk/latest'), '');
    const env = { PATH: '/usr/bin:/bin' };
    for (const words of [
      ['npm', 'start'],
      ['sh', '-c', `exec ${folder}/current/bin/www`],
      ['/bin/sh', 'v1/bin/www'],
      ['./v1/bin/program', '--data', `${folder}/data/latest`],
      // As Kubernetes mounts what it configures.
      ['sh', '-c', 'x', '-C', 'conf'],
      ['node', 'v1/node_modules/.bin/x'],
      ['nothing/there', 'current/none'],
      ['v1/venv/bin/python'],
    ]) {
      const { command, args, ...more } = pinCommand({ words, cwd: folder, env });
      assert.deepEqual([command, ...args], words);
      assert.deepEqual(more, { env: {} });
    }
    // Through the folder in which it is started, too: that is pinned by itself.
    const { command } = pinCommand({ words: ['./bin/www'], cwd: join(folder, 'current'), env });
    assert.equal(command, './bin/www');
  });

  tidy('has its lists of folders pinned, and a program its name', (later) => {
    const folder = releases(later);
    const current = join(folder, 'current');
    const env = { PATH: `${current}/bin:/bin`, PYTHONPATH: current, NODE_PATH: '/elsewhere' };
    const pinned = pinCommand({ words: ['sh', '-c', 'www'], cwd: current, env });
    assert.deepEqual(pinned.env, { PATH: `${folder}/v1/bin:/bin`, PYTHONPATH: `${folder}/v1` });
    assert.equal(pinCommand({ words: ['./server'], cwd: folder, env }).argv0, join(folder, 'server'));
    assert.equal(pinCommand({ words: ['./www'], cwd: folder, env }).argv0, undefined);
  });

  tidy('is known by the release that it started, also when the link leads to another one', async (later) => {
    const folder = releases(later);
    for (const words of [
      [`${folder}/current/node_modules/x/bin/x`],
      ['current/bin/program', 'v1/app.py'],
      ['node', 'current/bin/www'],
      ['./server'],
    ]) {
      const service = { words, cwd: folder, envFiles: [] };
      const release = resolveRelease(service, { PATH: '/usr/bin:/bin' });
      await pointAt(join(folder, 'current'), join(folder, 'v2'));
      await pointAt(join(folder, 'server'), join(folder, 'v2/bin/program'));
      writeFileSync(join(folder, 'v2/bin/program'), 'another');
      assert.deepEqual(changedFiles(release), [], words.join(' '));
      assert.equal(folderOf(release), join(folder, 'v1'), words.join(' '));
      await pointAt(join(folder, 'current'), join(folder, 'v1'));
      await pointAt(join(folder, 'server'), join(folder, 'v1/bin/program'));
    }
    const program = join(folder, 'v1/bin/program');
    const files = releaseFiles([program, join(folder, 'v1/conf.py')], folder);
    assert.ok(program in files, 'a program is known by itself, whatever its arguments are');
  });
});
