// `npm run apps`: real applications from npm, unmodified, each over five restarts, two broken releases, a rollback after
// probation and a crash, under strict clients. Prints a table; exit status 1 where something was not as promised.
//
//   npm run apps -- --only verdaccio --only serve     the named ones
//   npm run apps -- --write-docs                      all, and writes their rows into docs/applications.md
//
// Each is installed once from npm, below build/apps (some 1.5 GB for all). All take about half an hour.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CATALOGUE } from './apps/catalogue.mjs';
import { rowOf, writeRows } from './apps/table.mjs';
import { expectOneOf, installNode, VERSIONS } from './nodes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = path.join(root, 'docs/applications.md');
const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    'write-docs': { type: 'boolean', default: false },
    built: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
expectOneOf(
  '--only',
  values.only,
  CATALOGUE.map(({ name }) => name),
);
if (!values.built)
  execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: root, stdio: ['ignore', 2, 2] });
const { trial } = await import('./apps/trial.mjs');

/** Ctrl-C ends the one under way, with everything that it started. */
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => interrupted.abort());
const chosen = CATALOGUE.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
let bad = 0;
for (const app of chosen) {
  const seen = await trial(app, installNode(VERSIONS[app.node]), install(app), interrupted.signal);
  if (interrupted.signal.aborted) process.exit(130);
  const row = rowOf(app, VERSIONS[app.node], seen);
  process.stdout.write(`${row}\n`);
  for (const problem of seen.problems) process.stdout.write(`    ${problem}\n`);
  if (seen.problems.length > 0 && values.verbose)
    process.stdout.write(`${seen.output.replaceAll(/^/gm, '    | ')}\n`);
  bad += seen.problems.length > 0 ? 1 : 0;
  if (values['write-docs']) writeRows(page, [row], CATALOGUE);
}
process.stdout.write(
  bad === 0 ? `all ${chosen.length} as promised\n` : `${bad} of ${chosen.length} not as promised\n`,
);
process.exitCode = bad === 0 ? 0 : 1;

/** The folder with the node_modules of an application, installed once. */
function install({ name, version }) {
  const folder = path.join(root, 'build/apps', name.replaceAll(/[^\w-]/g, '-'), version);
  if (!existsSync(path.join(folder, 'done'))) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'package.json'), '{"private":true}\n');
    // Their install scripts would fetch what they do not need here, such as browsers.
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', ['install', ...flags, `${name}@${version}`], {
      cwd: folder,
      stdio: ['ignore', 2, 2],
    });
    writeFileSync(path.join(folder, 'done'), '');
  }
  return folder;
}
