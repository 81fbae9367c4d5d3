// Everything CI runs: lint, types, unit and integration tests, the package. `npm test -- <words>` runs only
// the test files whose path contains one of the words.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (...args) =>
  execFileSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
const wanted = process.argv.slice(2);

run('scripts/build.mjs');
installPackages();
rmSync(join(root, 'build'), { recursive: true, force: true });
mkdirSync(join(root, 'build'));
run('node_modules/typescript/bin/tsc', '-p', 'test');
if (wanted.length === 0) run('node_modules/@biomejs/biome/bin/biome', 'ci', '.');

const files = testFiles(join(root, 'build/test')).filter(
  (file) => wanted.length === 0 || wanted.some((word) => file.includes(word)),
);
const tests = spawnSync(process.execPath, ['--test', '--test-concurrency=2', ...files], {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
});
process.exitCode = tests.status ?? 1;

// Where it cannot install, it has said so, and the tests that need what is missing skip.
function installPackages() {
  const { status } = spawnSync(process.execPath, ['scripts/debian-packages.mjs'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0 && status !== 2)
    throw new Error('the packages of Debian that the tests need were not installed');
}

function testFiles(folder) {
  return readdirSync(folder)
    .flatMap((name) => {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) return testFiles(path);
      return path.endsWith('.test.js') ? [path] : [];
    })
    .sort();
}
