// Installs the npm packages where they are missing or out of date, compiles src to dist, and makes one file of what
// each process loads at its start: docs/decisions/0035-what-starts-is-bundled.md.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Read whole, it costs a command as much as all else; of what it does not use of it nothing is left. */
const INLINED = ['valibot'];
const AS_COMMONJS = {
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  define: { 'import.meta.url': 'fileUrl' },
  banner: { js: "const fileUrl = require('node:url').pathToFileURL(__filename).href;" },
};
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
const { dependencies, peerDependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const DEPENDENCIES = Object.keys({ ...dependencies, ...peerDependencies });
rmSync(`${root}dist`, { recursive: true, force: true });
run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', root]);
const { build } = await import('esbuild');
await writeConfigSchema();
await bundleCommands();
await bundleOperatorCommands();
await bundleForServices();
await bundlePage();
chmodSync(`${root}dist/cli/main.js`, 0o755);

// Before the commands are bundled: what the compiler made is loaded as it is.
async function writeConfigSchema() {
  const { configJsonSchema } = await import('../dist/config/json-schema.js');
  writeFileSync(`${root}dist/config/schema.json`, `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
}

// What several of them need is in files beside them, so that it is loaded once in a process.
async function bundleCommands() {
  // Of the latter two the bundles and whoever imports them have the same: the tests of failures break in here.
  const entries = ['cli/main', 'programs/exec', 'channel/channel', 'channel/open'];
  await build({
    ...common(entries),
    chunkNames: 'chunks/[hash]',
    splitting: true,
    external: DEPENDENCIES.filter((name) => !INLINED.includes(name)),
    format: 'esm',
  });
}

// A command that only asks a supervisor loads one file, and nothing twice: src/cli/main.ts chooses. What reads a config file is in
// another: few have one.
async function bundleOperatorCommands() {
  const names = readdirSync(`${root}src/cli/operate`).map((file) => file.replace('.ts', ''));
  await build({
    ...common(['config/file-services', ...names.map((name) => `cli/operate/${name}`)]),
    ...AS_COMMONJS,
    minifySyntax: true,
    minifyWhitespace: true,
    external: DEPENDENCIES.filter((name) => ![...INLINED, 'commander', 'croner'].includes(name)),
    plugins: [
      { name: 'version', setup: fixVersion },
      { name: 'program', setup: makeProgram },
      { name: 'late', setup: loadLate },
    ],
  });
}

// The program that has this command alone.
function makeProgram(bundler) {
  bundler.onResolve({ filter: /\/cli\/operate\/\w+\.ts$/ }, ({ path, kind }) =>
    kind === 'entry-point' ? { path, namespace: 'program' } : undefined,
  );
  bundler.onLoad({ filter: /./, namespace: 'program' }, ({ path }) => {
    const name = basename(path, '.ts');
    const lines = [
      `import { dispatch } from ${JSON.stringify('../dispatch.js')};`,
      `import { ${name}Command as command } from ${JSON.stringify(`./${name}.js`)};`,
      `export const main = () => dispatch({ ${name}: async () => command() });`,
    ];
    return { contents: lines.join('\n'), resolveDir: dirname(path) };
  });
}

function loadLate(bundler) {
  bundler.onResolve({ filter: /\/config\/file-services\.js$/ }, ({ kind }) =>
    kind === 'dynamic-import' ? { path: '../../config/file-services.cjs', external: true } : undefined,
  );
  // Commander needs it for commands that are programs of their own, of which moult has none.
  bundler.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
    importer.includes('/commander/') ? { path: 'spawn', namespace: 'late' } : undefined,
  );
  const contents =
    "exports.spawn = (...words) => process.getBuiltinModule('node:child_process').spawn(...words);";
  bundler.onLoad({ filter: /^spawn$/, namespace: 'late' }, () => ({ contents }));
}

// A service's process may have no require() of ES modules, and find packages in a way of its own: each of these is one
// file that needs nothing but Node. The service has its text in memory for as long as it lives: no comments, and a byte for
// each character, for one beyond Latin-1 would make it two for all.
async function bundleForServices() {
  await build({
    ...common(['standalone/service-bundle', 'threads/entry', 'cli/begin-again']),
    ...AS_COMMONJS,
    minifySyntax: true,
    minifyWhitespace: true,
    lineLimit: 130,
    plugins: [{ name: 'version', setup: fixVersion }],
  });
}

// The page of the dashboard: nothing of it comes from elsewhere, and nothing is inline.
async function bundlePage() {
  const page = `${root}src/dashboard/page`;
  run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', page]);
  await build({
    entryPoints: { app: `${page}/main.tsx`, style: `${page}/app.css` },
    outdir: `${root}dist/dashboard/page`,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    logLevel: 'warning',
  });
  for (const name of ['index.html', 'icon.svg'])
    copyFileSync(`${page}/${name}`, `${root}dist/dashboard/page/${name}`);
}

function common(entries) {
  return {
    entryPoints: entries.map((entry) => `${root}src/${entry}.ts`),
    outbase: `${root}src`,
    outdir: `${root}dist`,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    logLevel: 'warning',
  };
}

// What src/version.ts reads from package.json.
function fixVersion(bundler) {
  const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  const contents = `export const MOULT_VERSION = ${JSON.stringify(version)};`;
  bundler.onLoad({ filter: /\/src\/version\.ts$/ }, () => ({ contents, loader: 'ts' }));
}
