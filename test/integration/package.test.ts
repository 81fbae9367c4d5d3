import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { MOULT_VERSION } from '#moult/version.js';
import { root } from './supervised.js';

const execute = promisify(execFile);

/** Runs a program to its end; rejects, with what it said, when it fails. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1' };
  delete env.NODE_OPTIONS;
  delete env.NODE_TEST_CONTEXT;
  const { stdout } = await execute(command, [...args], { cwd, env }).catch(
    (error: Error & { stdout?: string }) => {
      error.message += `\n${error.stdout ?? ''}`;
      throw error;
    },
  );
  return stdout;
}

describe('the package, installed from its archive in an empty folder', () => {
  let folder = '';
  let archive = '';
  let app = '';

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'moult-package-'));
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], root);
    archive = path.join(folder, (await readdir(folder)).find((name) => name.endsWith('.tgz')) ?? '');
    app = path.join(folder, 'app');
    await mkdir(app);
    await writeFile(path.join(app, 'package.json'), '{"name":"app","private":true,"type":"module"}');
    const flags = ['--omit=dev', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['install', archive, ...flags], app);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  it('has the command', async () => {
    assert.equal((await run('npx', ['--no-install', 'moult', '--version'], app)).trim(), MOULT_VERSION);
    assert.match(
      await run('npx', ['--no-install', 'moult', '--help'], app),
      /restart .*replace the running service/,
    );
  });

  it('can be imported, and required', async () => {
    const inside = await run(
      process.execPath,
      ['-e', "import('moult').then((m) => console.log(typeof m))"],
      app,
    );
    assert.equal(inside.trim(), 'object');
    const preload = "require('moult/preload'); console.log(typeof process.send)";
    assert.equal(
      (await run(process.execPath, ['--input-type=commonjs', '-e', preload], app)).trim(),
      'undefined',
    );
  });

  it('runs a service and restarts it', async () => {
    const server = [
      "import http from 'node:http';",
      "http.createServer((_request, response) => response.end('ok')).listen(0, '127.0.0.1');",
    ];
    await writeFile(path.join(app, 'server.js'), server.join('\n'));
    const moult = path.join(app, 'node_modules/.bin/moult');
    const script = [
      `export XDG_RUNTIME_DIR=${folder}`,
      `${moult} run --log silent server.js & pid=$!`,
      `for i in $(seq 600); do ${moult} status app --json 2>/dev/null | grep -q '"state":"serving"' && break; done`,
      `${moult} restart app --json && ${moult} stop app; code=$?`,
      'wait $pid; exit $code',
    ];
    assert.match(await run('sh', ['-c', script.join('\n')], app), /"ok":true[\s\S]*app has ended/);
  });

  it('has types that resolve, beside those of Node', async () => {
    await writeFile(
      path.join(app, 'types.ts'),
      [
        "import { openService, type Service } from 'moult';",
        "import { standIn } from 'moult/testing';",
        'export const services: Service[] = [openService(), standIn()];',
      ].join('\n'),
    );
    const node = ['--types', 'node', '--typeRoots', path.join(root, 'node_modules/@types')];
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', ...node];
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, ...options, 'types.ts'], app);
  });

  it('holds what it should, and nothing else', async () => {
    const files = (await run('tar', ['-tzf', archive], folder)).trim().split('\n');
    const odd = files.filter(
      (name) =>
        !/^package\/(dist|docs)\/|^package\/(package\.json|README\.md|CHANGELOG\.md|LICENSE)$/.test(name),
    );
    assert.deepEqual(odd, []);
    assert.ok(files.includes('package/dist/cli/main.js'));
    assert.ok(files.includes('package/LICENSE'));
  });

  it('is clean for publint', async () => {
    const said = await run(
      process.execPath,
      [path.join(root, 'node_modules/publint/src/cli.js'), archive, '--strict'],
      root,
    );
    assert.match(said, /All good!/);
  });
});
