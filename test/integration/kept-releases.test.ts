// Releases that are written over in place, and are gone back to all the same: by copies that are kept of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { portOf, whenAllServe } from './slots-of.js';
import { type Supervised, type SupervisedOptions, until, withFolder, withService } from './supervised.js';

const runOptions = ['--keep-releases', '2', '--shared-path', 'state.json', '--probation', '100ms'];

/** Writes a release over what is there, as cp and docker cp do: into the same files. Its answer depends on all of its parts. */
function write(app: string, release: number): void {
  for (const folder of ['node_modules/dep', 'lib', 'views', 'files', 'src/db', 'dist/cache', 'log'])
    mkdirSync(path.join(app, folder), { recursive: true });
  const put = (name: string, text: string) => writeFileSync(path.join(app, name), text);
  put('package.json', JSON.stringify({ name: 'app', version: `${release}.0.0`, type: 'module' }));
  put('node_modules/dep/index.js', `module.exports = ${release};`);
  put('node_modules/dep/package.json', '{"name":"dep"}');
  put('lib/part.js', `export default ${release};`);
  put('views/page.txt', String(release));
  // Modules in folders that are named as data.
  for (const name of ['src/db/pool.js', 'dist/cache/lru.js', 'log/index.js'])
    put(name, `export default ${release};`);
  put(
    'server.js',
    `import dep from 'dep';
import part from './lib/part.js';
import pool from './src/db/pool.js';
import lru from './dist/cache/lru.js';
import log from './log/index.js';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
const near = (name) => new URL(name, import.meta.url);
const page = () => readFileSync(near('views/page.txt'), 'utf8');
createServer((request, response) => {
  if (request.url === '/write') {
    for (const name of ['visits.db', 'state.json', 'files/upload.txt']) appendFileSync(near(name), 'x');
    response.end();
  } else if (request.url === '/read') {
    const read = (name) => existsSync(near(name)) ? readFileSync(near(name), 'utf8').length : 0;
    response.end(['visits.db', 'state.json', 'files/upload.txt'].map(read).join());
  } else response.end([${release}, dep, part, pool, lru, log, page(), process.cwd() === import.meta.dirname].join());
}).listen(0, '127.0.0.1');
`,
  );
}

const answerOf = (release: number) => `${Array(7).fill(release).join()},true`;

async function get(service: Supervised, at = '/'): Promise<string> {
  const { host, port } = await service.target();
  return (await fetch(`http://${host}:${port}${at}`, { headers: { connection: 'close' } })).text();
}

async function deploy(service: Supervised): Promise<void> {
  await service.restart('--wait=confirmed');
  await service.alone();
}

function copiesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('.app.moult-'));
}

async function kept(folder: string, count: number): Promise<void> {
  await until(`${count} releases are kept`, () => {
    const names = copiesIn(folder);
    return names.length === count && names.every((name) => !name.endsWith('.part'));
  });
}

async function withApp(
  options: Partial<SupervisedOptions>,
  test: (service: Supervised, app: string, folder: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const app = path.join(folder, 'app');
    write(app, 1);
    writeFileSync(path.join(app, 'state.json'), '');
    writeFileSync(path.join(app, 'files/upload.txt'), '');
    const all = { command: ['server.js'], cwd: app, runOptions, ...options };
    await withService(all, (service) => test(service, app, folder));
  });
}

describe('a release that was written over and is kept (--keep-releases)', () => {
  it('is gone back to after probation, with what its service wrote, and once more after that', async () => {
    await withApp({}, async (service, app, folder) => {
      await kept(folder, 1);
      await get(service, '/write');
      write(app, 2);
      await deploy(service);
      assert.equal(await get(service), answerOf(2));
      await get(service, '/write');
      await kept(folder, 2);
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 0, stderr);
      assert.equal(await get(service), answerOf(1));
      assert.equal(await get(service, '/read'), '2,2,2');
      await get(service, '/write');
      await service.logs(/its copy in .*\.app\.moult-service-1 starts instead/);
      await service.alone();

      // A crash starts what serves, and the next release comes from the folder again.
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(/generation 4 serves/);
      assert.equal(await get(service), answerOf(1));
      write(app, 3);
      await deploy(service);
      assert.equal(await get(service), answerOf(3));
      assert.equal(await get(service, '/read'), '3,3,3');
      await until(
        'what nobody could go back to is gone',
        () => copiesIn(folder).sort().join() === '.app.moult-service-1,.app.moult-service-3',
      );
    });
  });

  it('is started again after a crash: also in place of a deployment that was never restarted to', async () => {
    await withApp({}, async (service, app, folder) => {
      await kept(folder, 1);
      write(app, 2);
      rmSync(path.join(app, 'lib'), { recursive: true });
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(/generation 2 serves/);
      assert.equal(await get(service), answerOf(1));
      // Also after another supervisor has adopted it.
      assert.equal((await service.moult('upgrade', service.name)).code, 0);
      await service.alone();
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(/generation 3 serves/);
      assert.equal(await get(service), answerOf(1));
    });
  });

  it('is started from its copy also where it is a program without an extension, of a package that was installed', async () => {
    await withFolder(async (folder) => {
      const app = path.join(folder, 'app');
      const bin = path.join(app, 'node_modules/x/bin/x');
      write(app, 1);
      mkdirSync(path.dirname(bin), { recursive: true });
      writeFileSync(path.join(app, 'node_modules/x/package.json'), '{"name":"x"}');
      const put = (release: number) => {
        const text = `require('node:http').createServer((_, response) => response.end('${release}')).listen(0, '127.0.0.1')`;
        writeFileSync(bin, `#!/usr/bin/env node\n${text};\n`, { mode: 0o755 });
      };
      put(1);
      await withService({ command: [bin], cwd: app, runOptions }, async (service) => {
        await kept(folder, 1);
        put(2);
        process.kill((await service.current()).pid, 'SIGKILL');
        await service.logs(/generation 2 serves/);
        assert.equal(await get(service), '1');
      });
    });
  });

  it('is kept whatever way of writing over it is taken', async () => {
    const ways: [string, (app: string, next: string) => void][] = [
      ['cp into the same files', (app, next) => execFileSync('cp', ['-r', `${next}/.`, app])],
      [
        'the folder removed and made anew',
        (app, next) => {
          rmSync(app, { recursive: true });
          execFileSync('cp', ['-r', next, app]);
        },
      ],
      [
        'the folder renamed away',
        (app, next) => execFileSync('sh', ['-c', `mv ${app} ${app}.old && cp -r ${next} ${app}`]),
      ],
      [
        'a part replaced by rename',
        (app, next) =>
          execFileSync('sh', ['-c', `cd ${app} && mv lib lib.old && cp -r ${next}/lib . && rm -r lib.old`]),
      ],
    ];
    await withApp({}, async (service, app, folder) => {
      const next = path.join(folder, 'next');
      write(next, 2);
      await kept(folder, 1);
      for (const [what, over] of ways) {
        over(app, next);
        process.kill((await service.current()).pid, 'SIGKILL');
        await until(
          `it serves again: ${what}`,
          async () => (await get(service).catch(() => '')) === answerOf(1),
        );
      }
    });
  });

  it('stays with what its service wrote into it, also once nobody could go back to it', async () => {
    const options = ['--keep-releases', '1', '--shared-path', 'files', '--probation', '100ms'];
    await withApp({ runOptions: options }, async (service, app, folder) => {
      await kept(folder, 1);
      write(app, 2);
      await deploy(service);
      assert.equal((await service.moult('rollback', service.name)).code, 0);
      await service.alone();
      // Here state.json is no shared path: it is the copy's own.
      await get(service, '/write');
      for (const release of [3, 4]) {
        write(app, release);
        await deploy(service);
      }
      await service.logs(/app\.moult-service-1 is no longer needed but was not deleted: .*state\.json there/);
      assert.equal(readFileSync(path.join(folder, '.app.moult-service-1/state.json'), 'utf8'), 'x');
    });
  });

  it('is told of where it cannot be: too large, or changed in its copy', async () => {
    await withApp({ runOptions: [...runOptions, '--keep-size', '10'] }, async (service, _, folder) => {
      await service.logs(/release of generation 1 was not copied, .*--keep-size allows/);
      assert.deepEqual(copiesIn(folder), []);
    });
    await withApp({}, async (service, app, folder) => {
      await kept(folder, 1);
      write(app, 2);
      await deploy(service);
      writeFileSync(path.join(folder, '.app.moult-service-1/lib/part.js'), 'export default 9;');
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 1);
      assert.match(stderr, /and so was its copy/);
      assert.equal(await get(service), answerOf(2));
    });
  });

  const isRoot = process.getuid?.() === 0;
  it('is told of where its disk is full in the middle, and leaves nothing half copied', {
    skip: !isRoot && 'only root may mount',
  }, async (test) => {
    await withFolder(async (folder) => {
      const disk = path.join(folder, 'disk');
      mkdirSync(disk);
      try {
        // So few files that the release fits, and its copy does not.
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,nr_inodes=26', 'none', disk]);
      } catch {
        test.skip('this container may not mount');
        return;
      }
      try {
        const app = path.join(disk, 'app');
        write(app, 1);
        writeFileSync(path.join(app, 'state.json'), '');
        writeFileSync(path.join(app, 'files/upload.txt'), '');
        await withService({ command: ['server.js'], cwd: app, runOptions }, async (service) => {
          await service.logs(/release of generation 1 was not copied, .*ENOSPC/);
          assert.deepEqual(copiesIn(disk), []);
          await deploy(service);
          write(app, 2);
          await deploy(service);
          assert.equal(await get(service), answerOf(2));
          const { code, stderr } = await service.moult('rollback', service.name);
          assert.equal(code, 1, stderr);
          assert.match(stderr, /there is no copy of it \(--keep-releases 2\)/);
          assert.equal(await get(service), answerOf(2));
          assert.deepEqual(copiesIn(disk), []);
        });
      } finally {
        execFileSync('umount', ['-l', disk]);
      }
    });
  });

  it('is gone back to by each slot: after a crash of one, and in a rollback of all', async () => {
    await withApp({ runOptions: [...runOptions, '--slots', '2'] }, async (service, app, folder) => {
      await kept(folder, 1);
      const [first] = await whenAllServe(service, 2);
      write(app, 2);
      process.kill(first?.pid ?? 0, 'SIGKILL');
      await service.logs(/its copy in .*\.app\.moult-service-1 starts instead/);
      const answers = async (release: number) => {
        await whenAllServe(service, 2);
        const url = `http://127.0.0.1:${await portOf(service)}`;
        // Enough that both slots answer.
        const ask = async () => (await fetch(url, { headers: { connection: 'close' } })).text();
        const all = await Promise.all(Array.from({ length: 40 }, ask));
        assert.deepEqual([...new Set(all)], [answerOf(release)]);
      };
      // The other slot goes on in the folder that was written over, and reads from there what it reads at each request.
      const again = await whenAllServe(service, 2);
      assert.ok(again.some(({ entry }) => entry === path.join(folder, '.app.moult-service-1/server.js')));
      await service.restart('--wait=confirmed');
      await answers(2);
      await kept(folder, 2);
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 0, stderr);
      await answers(1);
    });
  });

  it('shares what did not change of its packages with the one before, never with the release itself', async () => {
    await withApp({}, async (service, app, folder) => {
      await kept(folder, 1);
      symlinkSync(path.join(app, 'lib/part.js'), path.join(app, 'lib/link.js'));
      copyFileSync(path.join(app, 'server.js'), path.join(app, 'other.js'));
      await deploy(service);
      await kept(folder, 2);
      const inode = (at: string) => statSync(path.join(folder, at, 'node_modules/dep/index.js')).ino;
      assert.equal(inode('.app.moult-service-1'), inode('.app.moult-service-2'));
      assert.notEqual(inode('.app.moult-service-1'), inode('app'));
      const linked = path.join(folder, '.app.moult-service-2/lib/link.js');
      assert.equal(readFileSync(linked, 'utf8'), 'export default 1;');
      writeFileSync(path.join(app, 'lib/part.js'), 'export default 5;');
      assert.equal(readFileSync(linked, 'utf8'), 'export default 1;');
      assert.ok(existsSync(path.join(folder, '.app.moult-service-2/other.js')));

      // Where only a part differs another supervisor still knows one from the other.
      await deploy(service);
      await until('it is kept', () => copiesIn(folder).includes('.app.moult-service-3'));
      assert.equal(await get(service), '1,1,5,1,1,1,1,true');
      assert.equal((await service.moult('upgrade', service.name)).code, 0);
      await service.logs(/generation 3 is adopted/);
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 0, stderr);
      assert.equal(await get(service), answerOf(1));
    });
  });
});
