import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { RawClient } from './raw-client.js';
import { root, type SupervisedOptions, withFolder, withService } from './supervised.js';

const SERVER = `
  const http = require('node:http');
  const server = http.createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end(String(process.pid)));
  server.listen(0, '127.0.0.1');`;

const allowNet = process.allowedNodeEnvironmentFlags.has('--allow-net') ? ['--allow-net'] : [];

/** Whether this Node takes these flags. */
function isKnown(flags: readonly string[]): boolean {
  return spawnSync(process.execPath, [...flags, '-e', '0']).status === 0;
}

/** Restarts a service twice; its kept connection is answered by each generation in its turn. */
async function isRestarted(options: SupervisedOptions): Promise<void> {
  await withService({ runOptions: ['--probation', '50ms'], ...options }, async (service) => {
    const client = await RawClient.connect(await service.target());
    const pids = new Set<string>();
    const ask = async () => pids.add((await client.get('/')).body.toString());
    await ask();
    for (let n = 0; n < 2; n += 1) {
      await service.restart();
      await ask();
    }
    assert.equal(pids.size, 3);
    client.close();
  });
}

describe('a service whose Node runs with', () => {
  for (const flags of [
    ['--no-experimental-require-module'],
    ['--frozen-intrinsics'],
    ['--disable-proto=throw'],
    ['--disable-proto=delete'],
    ['--disallow-code-generation-from-strings'],
    ['--preserve-symlinks', '--preserve-symlinks-main'],
    ['--experimental-default-type=module'],
    ['--throw-deprecation', '--pending-deprecation'],
    ['--secure-heap=4096'],
    ['--jitless'],
    ['--use-strict'],
    ['--experimental-permission', '--allow-fs-read=*', '--allow-addons'],
    ['--permission', '--allow-fs-read=*', '--allow-addons', ...allowNet],
  ]) {
    const skip = isKnown(flags) ? false : 'this Node has no such flag';
    it(`${flags.join(' ')} is restarted, and its connections move`, { skip }, async () => {
      await withFolder(async (folder) => {
        await writeFile(path.join(folder, 'server.cjs'), SERVER);
        await isRestarted({ command: ['node', ...flags, 'server.cjs'], cwd: folder });
      });
    });
  }
});

describe('a service that finds packages', () => {
  // As pnpm lays them out; with --preserve-symlinks what a package depends on is not found beside where it really is.
  it('through links alone is restarted by a moult that is installed so', async () => {
    await withFolder(async (folder) => {
      const store = path.join(folder, 'node_modules/.pnpm');
      const moult = path.join(store, 'moult/node_modules');
      const koffi = path.join(store, 'koffi/node_modules');
      await Promise.all([moult, koffi].map((one) => mkdir(one, { recursive: true })));
      await cp(path.join(root, 'dist'), path.join(moult, 'moult/dist'), { recursive: true });
      await cp(path.join(root, 'package.json'), path.join(moult, 'moult/package.json'));
      for (const name of ['koffi', '@koromix'])
        execFileSync('cp', ['-al', path.join(root, 'node_modules', name), path.join(koffi, name)]);
      await symlink(path.join(koffi, 'koffi'), path.join(moult, 'koffi'));
      for (const name of [
        'cli-table3',
        'commander',
        'croner',
        'ora',
        'picocolors',
        'pino',
        'pino-pretty',
        'valibot',
      ])
        await symlink(path.join(root, 'node_modules', name), path.join(moult, name));
      await symlink(path.join(moult, 'moult'), path.join(folder, 'node_modules/moult'));
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const command = ['node', '--preserve-symlinks', 'server.cjs'];
      const installed = path.join(folder, 'node_modules/moult/dist/cli/main.js');
      await isRestarted({ command, cwd: folder, cli: installed });
    });
  });
});
