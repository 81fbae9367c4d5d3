// `npm run apps`: real applications from npm, unmodified, each over five restarts, two broken releases, a rollback after
// probation and a crash, under strict clients. Prints a table; exit status 1 where something was not as promised.
//
//   npm run apps -- --only verdaccio --only serve     the named ones
//   npm run apps -- --write-docs                      all, and writes the table into docs/applications.md
//
// Each is installed once from npm, below build/apps (some 1.5 GB for all). All take about half an hour.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CATALOGUE } from './apps/catalogue.mjs';
import { expectOneOf, installNode, VERSIONS } from './nodes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = path.join(root, 'docs/applications.md');
const BEGIN = '<!-- table: made by `npm run apps -- --write-docs` -->';
const END = '<!-- /table -->';
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

const HEAD = [
  'application',
  'version',
  'Node',
  'requests',
  'moved',
  'drained',
  'failed',
  'lost',
  'refused',
  'remarks',
];
/** Ctrl-C ends the one under way, with everything that it started. */
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => interrupted.abort());
const rows = [];
let bad = 0;
for (const app of CATALOGUE.filter(({ name }) => values.only.length === 0 || values.only.includes(name))) {
  const seen = await trial(app, installNode(VERSIONS[app.node]), install(app), interrupted.signal);
  if (interrupted.signal.aborted) process.exit(130);
  rows.push(rowOf(app, seen));
  process.stdout.write(`${rows.at(-1)}\n`);
  for (const problem of seen.problems) process.stdout.write(`    ${problem}\n`);
  if (seen.problems.length > 0 && values.verbose)
    process.stdout.write(`${seen.output.replaceAll(/^/gm, '    | ')}\n`);
  bad += seen.problems.length > 0 ? 1 : 0;
}
process.stdout.write(
  bad === 0 ? `all ${rows.length} as promised\n` : `${bad} of ${rows.length} not as promised\n`,
);
if (values['write-docs']) {
  const table = [HEAD, HEAD.map(() => '---')].map((cells) => `| ${cells.join(' | ')} |`);
  const text = readFileSync(page, 'utf8');
  const [before] = text.split(BEGIN);
  const after = text.split(END)[1];
  writeFileSync(page, `${before}${BEGIN}\n${[...table, ...rows].join('\n')}\n${END}${after}`);
}
process.exitCode = bad === 0 ? 0 : 1;

function rowOf(app, seen) {
  const closed = Object.entries(seen.webSocketsClosed ?? {}).map(([code, count]) => `${count} with ${code}`);
  const remarks = [
    ...(app.known === undefined ? [] : [app.known]),
    ...(app.speaks.length > 1 || app.speaks[0] !== 'http' ? [`speaks ${app.speaks.join(', ')}`] : []),
    ...(seen.toldToClose > 0 ? [`${seen.toldToClose} connections told to close`] : []),
    ...(closed.length > 0 ? [`WebSockets drain: of 10, opened again, ${closed.join(', ')} closed`] : []),
    ...(seen.problems.length > 0 ? ['**not as promised**'] : []),
  ];
  const { requests = '–', moved, draining, failed = '–', lost = '–', refused = '–' } = seen;
  const cells = [
    app.name,
    app.version,
    VERSIONS[app.node],
    requests,
    moved,
    draining,
    failed,
    lost,
    refused,
    remarks.join('; '),
  ];
  return `| ${cells.join(' | ')} |`;
}

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
