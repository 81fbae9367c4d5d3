// `npm run bench [-- steady restart move websockets broadcast state tasks cli peers tls-records tls-moves] [-- --quick]`: builds, measures, prints tables, and writes
// build/bench.json. --quick shows in a minute that everything works; its figures mean nothing.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { descriptorLimit } from './measure/processes.mjs';

const BENCHMARKS = [
  'steady',
  'restart',
  'move',
  'websockets',
  'broadcast',
  'state',
  'tasks',
  'cli',
  'peers',
  'tls-records',
  'tls-moves',
];
const WANTED_DESCRIPTORS = 12_000;
const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
const isQuick = args.includes('--quick');
const named = args.filter((arg) => arg !== '--quick');
const unknown = named.filter((name) => !BENCHMARKS.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`expected ${BENCHMARKS.join(', ')} or --quick, got ${unknown.join(', ')}\n`);
  process.exit(2);
}

// Node has raised its own limit to the hard one; only a privileged shell gets beyond that.
if (descriptorLimit() < WANTED_DESCRIPTORS && process.env.BENCH_LIMIT_TRIED === undefined) {
  const { status } = spawnSync(
    'sh',
    [
      '-c',
      `ulimit -n ${WANTED_DESCRIPTORS} 2>/dev/null; exec "$@"`,
      'sh',
      process.execPath,
      ...process.argv.slice(1),
    ],
    { stdio: 'inherit', env: { ...process.env, BENCH_LIMIT_TRIED: '1' } },
  );
  process.exit(status ?? 1);
}

execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root, stdio: 'inherit' });
const report = {
  date: new Date().toISOString(),
  node: process.version,
  cores: availableParallelism(),
  isQuick,
  benchmarks: /** @type {Record<string, unknown>} */ ({}),
};
process.stdout.write(
  `Node ${process.version}, ${report.cores} cores${isQuick ? ', quick: not figures to quote' : ''}\n`,
);
for (const name of BENCHMARKS) {
  if (named.length > 0 && !named.includes(name)) continue;
  const { run } = await import(`./${name}.mjs`);
  const say = (/** @type {string} */ text) => process.stderr.write(`${name}: ${text}\n`);
  const { json, text } = await run({ say, isQuick });
  report.benchmarks[name] = json;
  process.stdout.write(`\n${text}\n`);
}
mkdirSync(join(root, 'build'), { recursive: true });
writeFileSync(join(root, 'build/bench.json'), `${JSON.stringify(report, null, 2)}\n`);
process.stdout.write('\nwritten: build/bench.json\n');
