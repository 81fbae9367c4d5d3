// Everything CI runs: lint, types, unit and integration tests, the package. `npm test -- <words>` runs only
// the test files whose path contains one of the words.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** A file that takes longer is ended: the longest takes 3 minutes on two cores. */
const FILE_MS = 15 * 60_000;
/** So long after their beginning the tests fail as a whole. */
const WHOLE_MS = 60 * 60_000;
/** Half of the time a file waits, such as for a probation to end: with two more than there are cores, none of these stands still. */
const AT_ONCE = Math.min(4, availableParallelism() + 2);
/** Long files whose turn would come last, so that the others would be over. */
const FIRST = ['systemd/', 'standalone/self-restart', 'integration/threads', 'integration/take-over'];
const root = fileURLToPath(new URL('..', import.meta.url));
const inherits = { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] };
const run = (...args) => execFileSync(process.execPath, args, inherits);
const wanted = process.argv.slice(2);

run('scripts/build.mjs');
// Beside the compiler, and before the tests, which it would disturb.
const lint =
  wanted.length === 0
    ? spawn(process.execPath, ['node_modules/@biomejs/biome/bin/biome', 'ci', '.'], inherits)
    : undefined;
const linted = lint === undefined ? [0] : once(lint, 'exit');
installPackages();
rmSync(join(root, 'build'), { recursive: true, force: true });
mkdirSync(join(root, 'build'));
run('node_modules/typescript/bin/tsc', '-p', 'test');
if ((await linted)[0] !== 0) throw new Error('biome ci fails: npm run fix mends what it can');

const turn = (file) => {
  const first = FIRST.findIndex((part) => file.includes(`build/test/${part}`));
  return first === -1 ? FIRST.length : first;
};
const files = testFiles(join(root, 'build/test'))
  .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word)))
  .sort((a, b) => turn(a) - turn(b));
const watch = pathToFileURL(join(root, 'build/test/support/watch.js')).href;
const tests = spawn(
  process.execPath,
  ['--import', watch, 'scripts/test-files.mjs', String(AT_ONCE), String(FILE_MS), ...files],
  inherits,
);
const tooLong = setTimeout(() => {
  console.error(
    `the tests did not end within ${WHOLE_MS / 60_000} minutes; the last file that is shown has ended`,
  );
  tests.kill('SIGTERM');
  setTimeout(() => tests.kill('SIGKILL'), 30_000).unref();
}, WHOLE_MS);
const [status] = await once(tests, 'exit');
clearTimeout(tooLong);
process.exitCode = status ?? 1;

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
