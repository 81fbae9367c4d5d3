// Installs the npm packages where they are missing or out of date, compiles src to dist, and makes one file of what
// each process loads at its start: docs/decisions/0035-what-starts-is-bundled.md.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (command, args) =>
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });

const lock = createHash('sha256')
  .update(readFileSync(`${root}package-lock.json`))
  .digest('hex');
const stamp = `${root}node_modules/.moult-lock`;
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, lock);
}
rmSync(`${root}dist`, { recursive: true, force: true });
run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', root]);
const processes = ['service/entry', 'threads/entry', 'standalone/begin', 'cli/main', 'programs/exec'];
// Of these the bundles and whoever imports them have the same: the tests of failures break in here.
await bundle(...processes, 'channel/channel', 'channel/open');
chmodSync(`${root}dist/cli/main.js`, 0o755);

// What several of them need is in files beside them, so that it is loaded once in a process.
async function bundle(...entries) {
  const { build } = await import('esbuild');
  await build({
    entryPoints: entries.map((entry) => `${root}src/${entry}.ts`),
    outbase: `${root}src`,
    outdir: `${root}dist`,
    chunkNames: 'chunks/[hash]',
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
}
