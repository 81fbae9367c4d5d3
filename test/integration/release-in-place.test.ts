// Releases that are written over each other: what is no more cannot be gone back to, and is not said to serve.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { pointAt, type Supervised, type SupervisedOptions, withFolder, withService } from './supervised.js';

const runOptions = ['--probation', '100ms', '--drain-timeout', '2s', '--stop-timeout', '2s'];

/** Writes a release whose answer depends on all of its files. */
function write(folder: string, release: number): void {
  mkdirSync(path.join(folder, 'node_modules/dep'), { recursive: true });
  mkdirSync(path.join(folder, 'lib'), { recursive: true });
  writeFileSync(
    path.join(folder, 'package.json'),
    JSON.stringify({ name: 'app', version: `${release}.0.0` }),
  );
  for (const name of ['node_modules/dep/index.js', 'lib/part.js'])
    writeFileSync(path.join(folder, name), `module.exports = ${release};`);
  // As npm has the packages of a workspace.
  const linked = path.join(folder, '../packages/linked');
  mkdirSync(linked, { recursive: true });
  writeFileSync(path.join(linked, 'index.js'), 'module.exports = 1');
  rmSync(path.join(folder, 'node_modules/linked'), { force: true });
  symlinkSync(linked, path.join(folder, 'node_modules/linked'));
  const text = `const parts = [require('dep'), require('./lib/part.js')];
require('node:http').createServer((_, response) => response.end(parts.join())).listen(0, '127.0.0.1');`;
  writeFileSync(path.join(folder, 'server.cjs'), text);
}

async function served(service: Supervised): Promise<string> {
  const { host, port } = await service.target();
  return (await fetch(`http://${host}:${port}`, { headers: { connection: 'close' } })).text();
}

async function deploy(service: Supervised): Promise<void> {
  await service.restart('--wait=confirmed');
  await service.alone();
}

describe('a rollback to a release', () => {
  const changes: [string, (folder: string) => void][] = [
    [
      'all was written anew',
      (folder) => {
        rmSync(folder, { recursive: true });
        write(folder, 2);
      },
    ],
    ['the entry was', (folder) => writeFileSync(path.join(folder, 'server.cjs'), serverOf('other'))],
    ['only package.json was', (folder) => writeFileSync(path.join(folder, 'package.json'), '{"name":"app"}')],
    [
      'only a dependency was',
      (folder) => writeFileSync(path.join(folder, 'node_modules/dep/index.js'), 'exports.a = 1'),
    ],
    [
      'only a package was that it links to',
      (folder) => writeFileSync(path.join(folder, '../packages/linked/index.js'), 'module.exports = 22'),
    ],
    ['only a part of it was', (folder) => writeFileSync(path.join(folder, 'lib/part.js'), 'exports.b = 22')],
    [
      'a part of it was removed, and the entry no more needs it',
      (folder) => {
        rmSync(path.join(folder, 'lib/part.js'));
        writeFileSync(path.join(folder, 'server.cjs'), serverOf('less'));
      },
    ],
  ];
  for (const [what, change] of changes) {
    it(`is refused with what changed, where ${what}`, async () => {
      await withFolder(async (folder) => {
        const app = path.join(folder, 'app');
        write(app, 1);
        const options: SupervisedOptions = { command: [path.join(app, 'server.cjs')], runOptions };
        await withService(options, async (service) => {
          // The folder has been looked at by then: that goes on beside the start.
          await deploy(service);
          change(app);
          await deploy(service);
          const before = await served(service);
          const { code, stderr } = await service.moult('rollback', service.name);
          assert.equal(code, 1, stderr);
          assert.match(stderr, /MOULT_NOTHING_TO_ROLL_BACK/);
          assert.match(stderr, /were changed since it started/);
          assert.equal(await served(service), before);
          const { stdout } = await service.moult('history', service.name, '--json');
          assert.match(stdout, /MOULT_NOTHING_TO_ROLL_BACK/);
        });
      });
    });
  }

  it('is refused, or names what stays as it is, also where the supervisor has been replaced before', async () => {
    await withFolder(async (folder) => {
      const app = path.join(folder, 'app');
      write(app, 1);
      writeFileSync(path.join(app, 'app.yaml'), 'release: 1');
      const options: SupervisedOptions = { command: [path.join(app, 'server.cjs')], runOptions };
      await withService(options, async (service) => {
        await deploy(service);
        const { code } = await service.moult('upgrade', service.name);
        assert.equal(code, 0);
        // By then the folder has been looked at.
        await service.alone();
        writeFileSync(path.join(app, 'app.yaml'), 'release: 2');
        await deploy(service);
        const told = await service.moult('rollback', service.name);
        assert.equal(told.code, 0, told.stderr);
        assert.match(told.stdout, /! the release before was started again[\s\S]*app\.yaml/);
        writeFileSync(path.join(app, 'lib/part.js'), 'module.exports = 22');
        await deploy(service);
        const refused = await service.moult('rollback', service.name);
        assert.equal(refused.code, 1, refused.stdout);
        assert.match(refused.stderr, /lib\/part\.js[\s\S]*MOULT_NOTHING_TO_ROLL_BACK/);
      });
    });
  });

  const beside: [string, string, string][] = [
    ['its configuration', 'config/app.json', '{"release":2}'],
    ['YAML', 'app.yaml', 'release: 2\n'],
    ['its .env', '.env', 'RELEASE=2\n'],
    ['a template', 'views/deep/page.ejs', '<%= 22 %>'],
    ['a schema', 'schema.graphql', 'type Two { a: Int }'],
  ];
  for (const [what, name, text] of beside) {
    it(`goes back, and names what stays as it is, where only ${what} was written over`, async () => {
      await withFolder(async (folder) => {
        const app = path.join(folder, 'app');
        write(app, 1);
        const file = path.join(app, name);
        mkdirSync(path.dirname(file), { recursive: true });
        writeFileSync(file, 'release 1');
        // What the service writes all the time is its own.
        writeFileSync(path.join(app, 'counts.json'), '0');
        const counts = `require('node:fs').writeFileSync(__dirname + '/counts.json', String(process.pid));`;
        appendFileSync(path.join(app, 'server.cjs'), `\n${counts}`);
        const options: SupervisedOptions = { command: [path.join(app, 'server.cjs')], runOptions };
        await withService(options, async (service) => {
          await deploy(service);
          writeFileSync(file, text);
          await deploy(service);
          const { code, stdout, stderr } = await service.moult('rollback', service.name);
          assert.equal(code, 0, stderr);
          assert.match(stdout, /^! the release before was started again/m);
          assert.ok(stdout.includes(file), stdout);
          assert.doesNotMatch(stdout, /counts\.json|✓ the release/);
          for (const line of stdout.split('\n'))
            if (!line.includes(folder)) assert.ok(line.length <= 80, line);
          await service.logs(/files of its release were changed since it started, and stay so: /);
          const history = JSON.parse((await service.moult('history', service.name, '--json')).stdout);
          assert.deepEqual(history.at(-1).changedFiles, [file]);
          // The one before that one started with it as it was, too.
          const again = await service.moult('rollback', service.name, '--json');
          assert.deepEqual(JSON.parse(again.stdout.trim().split('\n').at(-1) ?? '').changedFiles, [file]);
        });
      });
    });
  }

  it('says of an undo in probation what is not on disk any more, for people and for programs', async () => {
    await withFolder(async (folder) => {
      const app = path.join(folder, 'app');
      write(app, 1);
      const config = path.join(app, 'config.json');
      writeFileSync(config, '1');
      const long = ['--probation', '1h', '--drain-timeout', '2s', '--stop-timeout', '2s'];
      const command = [path.join(app, 'server.cjs')];
      await withService({ command, runOptions: long }, async (service) => {
        const undo = async (...flags: string[]) => {
          await service.restart();
          return (await service.moult('rollback', service.name, ...flags)).stdout;
        };
        // It has been looked at by then.
        assert.match(await undo(), /^✓ the predecessor serves again/m);
        writeFileSync(config, '22');
        const people = await undo();
        assert.match(people, /^! the predecessor serves again/m);
        assert.ok(people.includes(config), people);
        writeFileSync(config, '333');
        const programs = JSON.parse((await undo('--json')).trim().split('\n').at(-1) ?? '');
        assert.equal(programs.ok, true);
        assert.deepEqual(programs.changedFiles, [config]);
      });
    });
  });

  it('says nothing of data in its own folder, where the release that failed lies in another', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current');
      for (const release of [1, 2]) write(path.join(folder, String(release)), release);
      writeFileSync(path.join(folder, '1/state.json'), '1');
      symlinkSync(path.join(folder, '1'), link);
      await withService({ command: ['server.cjs'], cwd: link, runOptions }, async (service) => {
        await deploy(service);
        writeFileSync(path.join(folder, '1/state.json'), '22');
        await pointAt(link, path.join(folder, '2'));
        await deploy(service);
        const { code, stdout } = await service.moult('rollback', service.name);
        assert.equal(code, 0);
        assert.match(stdout, /^✓ the release before was started again/m);
      });
    });
  });

  const programs: [string, string, (folder: string, release: number) => void][] = [
    [
      'a script of Python',
      'worker.py',
      (folder, release) =>
        writeFileSync(
          path.join(folder, 'worker.py'),
          `#!/usr/bin/python3\nimport time\nwhile True: time.sleep(${release})\n`,
          { mode: 0o755 },
        ),
    ],
    [
      'a module of a script of Python',
      'worker.py',
      (folder, release) => {
        const text = '#!/usr/bin/python3\nimport part, time\nwhile True: time.sleep(1)\n';
        if (release === 1) writeFileSync(path.join(folder, 'worker.py'), text, { mode: 0o755 });
        writeFileSync(path.join(folder, 'part.py'), `release = ${release}${'0'.repeat(release)}\n`);
      },
    ],
    [
      'a program of its own',
      'worker',
      (folder, release) => {
        rmSync(path.join(folder, 'worker'), { force: true });
        execFileSync('cp', ['/bin/sleep', path.join(folder, 'worker')]);
        appendFileSync(path.join(folder, 'worker'), String(release));
      },
    ],
  ];
  for (const [what, name, put] of programs) {
    it(`is refused with what changed, where that is ${what}, which is no Node service`, async () => {
      await withFolder(async (folder) => {
        put(folder, 1);
        const command = [path.join(folder, name), ...(name === 'worker' ? ['1000'] : [])];
        const programOptions = [...runOptions, '--program', '--ready-after', '200ms'];
        await withService({ command, runOptions: programOptions }, async (service) => {
          await deploy(service);
          put(folder, 2);
          await deploy(service);
          const { code, stderr } = await service.moult('rollback', service.name);
          assert.equal(code, 1, stderr);
          assert.match(stderr, /MOULT_NOTHING_TO_ROLL_BACK.*|were changed since it started/);
        });
      });
    });
  }

  it('goes back where its files are as they were: in folders of their own, and behind a link that leads there again', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current');
      for (const release of [1, 2]) write(path.join(folder, String(release)), release);
      symlinkSync(path.join(folder, '1'), link);
      await withService({ command: ['server.cjs'], cwd: link, runOptions }, async (service) => {
        assert.equal(await served(service), '1,1');
        await deploy(service);
        await pointAt(link, path.join(folder, '2'));
        await deploy(service);
        assert.equal(await served(service), '2,2');
        const { code, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 0, stderr);
        assert.equal(await served(service), '1,1');
        await service.alone();
        await pointAt(link, path.join(folder, '1'));
        await deploy(service);
        assert.equal(await served(service), '1,1');
      });
    });
  });

  it('a crash starts the release that served, not the one to which a link leads by then, whatever kind of program it is', async () => {
    await withFolder(async (folder) => {
      const put = (at: string, text: string) => {
        mkdirSync(path.join(folder, at, '..'), { recursive: true });
        writeFileSync(path.join(folder, at), text, { mode: 0o755 });
      };
      for (const release of ['1', '2']) {
        put(`${release}/node_modules/x/bin/x`, `#!/usr/bin/env node\n${serverOf(release)}`);
        mkdirSync(path.join(folder, release, 'node_modules/.bin'));
        symlinkSync('../x/bin/x', path.join(folder, release, 'node_modules/.bin/x'));
      }
      const current = path.join(folder, 'current');
      const program = path.join(folder, 'program');
      // More kinds are in test/supervisor/releases/pinned-paths.test.ts.
      const commands = [['x'], [program]];
      const env = {
        PATH: `${current}/node_modules/.bin:${path.dirname(process.execPath)}:${process.env.PATH}`,
      };
      symlinkSync('1', current);
      symlinkSync('1/node_modules/x/bin/x', program);
      for (const command of commands) {
        await withService({ command, cwd: folder, env, runOptions }, async (service) => {
          const { pid } = await service.current();
          await pointAt(current, path.join(folder, '2'));
          await pointAt(program, path.join(folder, '2/node_modules/x/bin/x'));
          process.kill(pid, 'SIGKILL');
          await service.logs(/generation 2 serves/);
          assert.equal(await served(service), '1', command.join(' '));
          await service.restart();
          assert.equal(await served(service), '2', command.join(' '));
        });
        await pointAt(current, path.join(folder, '1'));
        await pointAt(program, path.join(folder, '1/node_modules/x/bin/x'));
      }
    });
  });

  it('a crash says that it starts other files than the last good release had', async () => {
    await withFolder(async (folder) => {
      const app = path.join(folder, 'app');
      write(app, 1);
      await withService({ command: [path.join(app, 'server.cjs')], runOptions }, async (service) => {
        const { pid } = await service.current();
        writeFileSync(path.join(app, 'server.cjs'), serverOf('overwritten'));
        process.kill(pid, 'SIGKILL');
        await service.logs(/its files were changed since \(.*server\.cjs\), so it starts the changed files/);
      });
    });
  });
});

function serverOf(answer: string): string {
  return `require('node:http').createServer((_, response) => response.end('${answer}')).listen(0, '127.0.0.1');`;
}
