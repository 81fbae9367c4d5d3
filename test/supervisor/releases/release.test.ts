import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe } from 'node:test';
import { namedWorkingDirectory } from '#moult/os/files/working-directory.js';
import { defaultName, resolveRelease } from '#moult/supervisor/releases/release.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

/** Two releases, and a link that leads to the first. */
function releases(later: Later): { folder: string; link: string; to: (release: string) => void } {
  const folder = realpathSync(temporaryFolder(later));
  for (const release of ['v1', 'v2']) {
    mkdirSync(join(folder, release));
    writeFileSync(join(folder, release, 'server.js'), '');
    writeFileSync(join(folder, release, '.env'), `RELEASE=${release}\nSHARED=file\n`);
  }
  const link = join(folder, 'current');
  let count = 0;
  const to = (release: string) => {
    const next = `${link}-${count++}`;
    symlinkSync(join(folder, release), next);
    renameSync(next, link);
  };
  to('v1');
  return { folder, link, to };
}

const command = (cwd: string, words: string[], envFiles: string[] = []) => ({ words, cwd, envFiles });

describe('a release', () => {
  tidy('is what the paths hold when it is made: a switched link leads to the next', (later) => {
    const { folder, link, to } = releases(later);
    const service = command(link, ['server.js', '--port', '1'], ['.env']);
    const first = resolveRelease(service, { PATH: '/bin' });
    const { files, ...rest } = first;
    assert.deepEqual(Object.keys(files ?? {}), [join(folder, 'v1/server.js')]);
    assert.deepEqual(rest, {
      command: process.execPath,
      args: [join(folder, 'v1/server.js'), '--port', '1'],
      cwd: join(folder, 'v1'),
      env: { RELEASE: 'v1', SHARED: 'file', PATH: '/bin', PWD: join(folder, 'v1') },
      isDirect: true,
      label: join(folder, 'v1/server.js'),
    });
    to('v2');
    const second = resolveRelease(service, { PATH: '/bin' });
    assert.equal(second.cwd, join(folder, 'v2'));
    assert.equal(second.args[0], join(folder, 'v2/server.js'));
    assert.equal(second.env.RELEASE, 'v2');
    assert.equal(first.cwd, join(folder, 'v1'), 'what was made stays what it was');
  });

  tidy('follows a link in the path of the script as well', (later) => {
    const { folder, to } = releases(later);
    const service = command(folder, ['current/server.js']);
    assert.equal(resolveRelease(service, {}).args[0], join(folder, 'v1/server.js'));
    to('v2');
    assert.equal(resolveRelease(service, {}).args[0], join(folder, 'v2/server.js'));
  });

  tidy('reads its environment files anew, a later over an earlier one, and the environment wins', (later) => {
    const { folder } = releases(later);
    writeFileSync(join(folder, 'a.env'), 'A=1\nB=1\nC=1\nQUOTED="a b # c"\n');
    writeFileSync(join(folder, 'b.env'), 'B=2\nC=2\n');
    const service = command(folder, ['v1/server.js'], ['a.env', 'b.env']);
    const { env } = resolveRelease(service, { C: '3' });
    assert.deepEqual([env.A, env.B, env.C, env.QUOTED], ['1', '2', '3', 'a b # c']);
    writeFileSync(join(folder, 'a.env'), 'A=changed\n');
    assert.equal(resolveRelease(service, {}).env.A, 'changed');
  });

  tidy('of a command is the command; node is the service itself, npm and shells are not', (later) => {
    const { folder } = releases(later);
    for (const [words, isDirect] of [
      [['node', '--enable-source-maps', 'v1/server.js'], true],
      [['/usr/bin/node', 'v1/server.js'], true],
      [['nodejs', 'v1/server.js'], true],
      [['npm', 'start'], false],
      [['sh', '-c', 'node v1/server.js'], false],
      [['nodemon', 'v1/server.js'], false],
    ] as const) {
      const release = resolveRelease(command(folder, [...words]), {});
      assert.equal(release.command, words[0]);
      // What node runs is pinned; what a wrapper runs is its own affair.
      const pinned = words.slice(1).map((word) => (isDirect ? word.replace(/^v1/, `${folder}/v1`) : word));
      assert.deepEqual(release.args, pinned);
      assert.equal(release.isDirect, isDirect, words[0]);
      assert.equal(release.label, words.join(' '));
    }
  });

  tidy('of what is not there names what was expected', (later) => {
    const { folder } = releases(later);
    const cases = [
      [command(folder, []), /script or a command/],
      [command(folder, ['none.js']), /none\.js/],
      [command(join(folder, 'none'), ['server.js']), /working directory/],
      [command(folder, ['v1/server.js'], ['none.env']), /--env-file.*none\.env/],
    ] as const;
    for (const [service, message] of cases)
      assert.throws(() => resolveRelease(service, {}), { code: 'MOULT_BAD_OPTION', message });
  });

  tidy('waits for ever for no pipe: not as an environment file, nor as a manifest', (later) => {
    const { folder } = releases(later);
    for (const name of ['env', 'package-lock.json']) execFileSync('mkfifo', [join(folder, 'v1', name)]);
    const message = /--env-file: .*env: .*is a pipe, and nothing was written to it/;
    assert.throws(() => resolveRelease(command(folder, ['v1/server.js'], ['v1/env']), {}), { message });
    const { files = {} } = resolveRelease(command(folder, ['v1/server.js']), {});
    assert.deepEqual(Object.keys(files), [join(folder, 'v1/server.js')]);
  });
});

describe('the default name of a service', () => {
  tidy('is that of the nearest package.json, made fit for a folder', (later) => {
    const { folder } = releases(later);
    const nameFor = (words: string[], cwd = folder) => defaultName(command(cwd, words));
    // Some package.json above the temporary folder would win; there is none.
    assert.equal(nameFor(['v1/server.js']), 'server');
    writeFileSync(join(folder, 'package.json'), '{"name":"@acme/web app"}');
    assert.equal(nameFor(['v1/server.js']), 'acme-web-app');
    writeFileSync(join(folder, 'v1/package.json'), '{"name":"inner"}');
    assert.equal(nameFor(['v1/server.js']), 'inner');
    assert.equal(nameFor(['node', '--flag', 'v1/server.js']), 'inner');
    assert.equal(nameFor(['npm', 'start']), 'acme-web-app');
    writeFileSync(join(folder, 'v1/package.json'), '{"name":"///"}');
    assert.equal(nameFor(['v1/server.js']), 'service');
    writeFileSync(join(folder, 'v1/package.json'), '{}');
    assert.equal(nameFor(['v1/server.js']), 'server');
  });
});

describe('the working directory', () => {
  tidy('is the one that the shell named when that is where the process is, else the real one', (later) => {
    const real = process.cwd();
    assert.equal(namedWorkingDirectory({}), real);
    assert.equal(namedWorkingDirectory({ PWD: '/nowhere/at/all' }), real);
    assert.equal(namedWorkingDirectory({ PWD: '/' }), real);
    assert.equal(namedWorkingDirectory({ PWD: '.' }), real);
    const link = join(temporaryFolder(later), 'here');
    symlinkSync(real, link);
    assert.equal(namedWorkingDirectory({ PWD: link }), link);
    assert.equal(basename(link), 'here');
  });
});
