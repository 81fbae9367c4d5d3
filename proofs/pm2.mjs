// `node proofs/pm2.mjs`: PM2's ecosystem files in every shape, with the keys that are used most, are imported by
// `moult import`; what it writes is started, asked by a client, restarted under clients, and stopped. Exit status 1 if a key
// is not told of, does not do what its note says, or a request fails.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../scripts/free-ports.mjs';
import { until, verdict } from './harness.mjs';

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const LONGEST_MS = 60_000;
const CLIENTS = 8;

/** Answers with what it was started with, and tells its stop signal in a file. */
const SERVER = `const { createServer } = require('node:http');
const { appendFileSync } = require('node:fs');
const { env, argv, execArgv, pid } = process;
createServer((request, response) => response.end(JSON.stringify({
  env, args: argv.slice(2), execArgv, cwd: process.cwd(), pid,
}))).listen(env.PORT, () => setTimeout(() => process.send?.('ready'), 50));
process.on('SIGINT', () => { appendFileSync(env.SIGNALS, 'SIGINT '); process.exit(0); });
process.on('SIGTERM', () => { appendFileSync(env.SIGNALS, 'SIGTERM '); process.exit(0); });`;

/** The keys of an app, as files of PM2's users have them. */
const appOf = (name, port, folder) => ({
  name,
  script: './server.js',
  args: ['--color', 'two words'],
  cwd: path.join(folder, 'app'),
  interpreter: 'node',
  node_args: '--max-old-space-size=300',
  interpreter_args: ['--stack-trace-limit=50'],
  instances: 2,
  exec_mode: 'cluster',
  env: { PORT: port, STAGE: 'development', SIGNALS: path.join(folder, `${name}.signals`) },
  env_production: { STAGE: 'production' },
  env_staging: { STAGE: 'staging' },
  instance_var: 'INSTANCE_ID',
  autorestart: true,
  wait_ready: true,
  listen_timeout: 20000,
  kill_timeout: 5000,
  shutdown_with_message: false,
  max_memory_restart: '600M',
  cron_restart: '0 4 * * *',
  max_restarts: 10,
  min_uptime: '10s',
  restart_delay: 100,
  exp_backoff_restart_delay: 100,
  watch: false,
  ignore_watch: ['node_modules', 'logs'],
  out_file: './logs/out.log',
  error_file: './logs/err.log',
  merge_logs: true,
  log_date_format: 'YYYY-MM-DD HH:mm Z',
  time: true,
  source_map_support: true,
  namespace: 'shop',
  treekill: true,
  vizion: false,
  pid_file: './pids/app.pid',
});

const yaml = (value, indent = '') =>
  Array.isArray(value)
    ? value.map((one) => `${indent}- ${yaml(one, `${indent}  `).trimStart()}`).join('\n')
    : typeof value === 'object'
      ? Object.entries(value)
          .map(
            ([key, one]) =>
              `${indent}${key}:${typeof one === 'object' ? `\n${yaml(one, `${indent}  `)}` : ` ${JSON.stringify(one)}`}`,
          )
          .join('\n')
      : JSON.stringify(value);
const deploy = {
  production: { user: 'node', host: ['10.0.0.1'], ref: 'origin/main', repo: 'git@x:y.git', path: '/srv' },
};
const json = (value) => JSON.stringify(value, null, 2);
/** @type {Record<string, (apps: object[]) => string>} */
const SHAPES = {
  'ecosystem.config.js': (apps) => `module.exports = { apps: ${json(apps)}, deploy: ${json(deploy)} };`,
  'function.config.cjs': (apps) => `module.exports = () => ({ apps: ${json(apps)} });`,
  'list.config.cjs': (apps) => `module.exports = ${json(apps)};`,
  'ecosystem.config.mjs': (apps) => `export default { apps: ${json(apps)} };`,
  'ecosystem.json': (apps) => json({ apps, deploy }),
  'processes.json': (apps) => json(apps),
  'ecosystem.yaml': (apps) => yaml({ apps, deploy }),
  'one.json': ([app]) => json(app),
  'one.config.js': ([app]) => `module.exports = ${json(app)};`,
  'package.json': (apps) => json({ name: 'shop', pm2: { apps } }),
};

const problems = [];
const keys = Object.keys(appOf('a', 1, '/'));
console.log(`${keys.length} keys: ${keys.join(' ')}`);
for (const [file, text] of Object.entries(SHAPES)) {
  const folder = await mkdtemp(path.join(tmpdir(), 'moult-pm2-'));
  try {
    await prove(file, text, folder);
  } catch (error) {
    problems.push(`${file}: ${error.stack}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
verdict(problems);

async function prove(file, text, folder) {
  const isOne = file.startsWith('one.');
  const ports = await freePorts(2);
  const names = isOne ? ['shop'] : ['shop', 'admin'];
  const apps = names.map((name, at) => appOf(name, ports[at], folder));
  const env = { ...process.env, XDG_RUNTIME_DIR: path.join(folder, 'run'), NO_COLOR: '1' };
  await mkdir(path.join(folder, 'run'), { mode: 0o700 });
  await mkdir(path.join(folder, 'app'));
  await writeFile(path.join(folder, 'app', 'server.js'), SERVER);
  await writeFile(path.join(folder, file), text(apps));
  const moult = (...words) => said([CLI, ...words], folder, env);

  const report = await moult('import', file, '--env', 'production');
  for (const key of keys)
    if (!new RegExp(`^ *${key} `, 'm').test(report)) problems.push(`${file}: nothing is said of ${key}`);
  if (text(apps).includes('deploy') && !/^deploy: not imported/m.test(report))
    problems.push(`${file}: nothing is said of deploy`);

  const running = spawn(process.execPath, [CLI, isOne ? 'run' : 'up'], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [running.stdout, running.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  const ended = new Promise((resolve) => running.once('exit', resolve));
  try {
    for (const [at, app] of apps.entries()) {
      await until(`${file}: ${app.name} answers\n${output}`, () => ask(ports[at]).then(Boolean, () => false));
      await checkAnswer(file, app, ports[at], folder);
    }
    await until(`${file}: both instances serve`, async () => (await serving(moult)).length === 2);
    const pids = await serving(moult);
    let [requests, failed] = [0, 0];
    let isOver = false;
    const clients = Array.from({ length: CLIENTS }, async (_, at) => {
      while (!isOver) {
        await ask(ports[(at % ports.length) % names.length]).then(
          () => (requests += 1),
          (error) => {
            failed += 1;
            problems.push(`${file}: ${error.cause ?? error}`);
          },
        );
      }
    });
    for (const name of names) await moult('restart', name);
    isOver = true;
    await Promise.all(clients);
    const after = await serving(moult);
    const { pid } = await ask(ports[0]);
    if (!after.includes(pid) || after.some((one) => pids.includes(one)))
      problems.push(`${file}: after the restart process ${pid} answers, and ${after} serve`);
    for (const name of names) await moult('stop', name);
    await ended;
    const signals = await readFile(apps[0].env.SIGNALS, 'utf8');
    if (!/^(SIGINT )+$/.test(signals)) problems.push(`${file}: the stop signals were ${signals}`);
    console.log(
      `${file}: ${names.length} imported and run, 2 processes each, ${names.length} restarts: ${requests} requests, ${failed} failed`,
    );
  } finally {
    running.kill('SIGTERM');
    await ended;
  }
}

async function checkAnswer(file, { name, args, cwd }, port) {
  const got = await ask(port);
  const expected = { args, cwd, STAGE: 'production', NODE_APP_INSTANCE: true, INSTANCE_ID: true };
  const { INSTANCE_ID, STAGE } = got.env;
  const is = { args: got.args, cwd: got.cwd, STAGE, INSTANCE_ID: /^[01]$/.test(INSTANCE_ID ?? '') };
  for (const [key, value] of Object.entries(is))
    if (JSON.stringify(value) !== JSON.stringify(expected[key]))
      problems.push(`${file}: ${name}: ${key} is ${JSON.stringify(value)}`);
  for (const flag of ['--max-old-space-size=300', '--stack-trace-limit=50', '--enable-source-maps'])
    if (!got.execArgv.includes(flag)) problems.push(`${file}: ${name}: ${flag} is not there`);
}

async function ask(port) {
  const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(LONGEST_MS) });
  return response.json();
}

/** The processes that serve as `shop`. */
async function serving(moult) {
  const { generations } = JSON.parse(await moult('status', 'shop', '--json'));
  return generations.flatMap(({ state, pid }) => (state === 'serving' ? pid : []));
}

function said(args, cwd, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [output, complaints] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk) => (complaints += chunk));
    child.once('close', (code) =>
      code === 0
        ? resolve(output)
        : reject(new Error(`moult ${args.slice(1).join(' ')}: ${output}${complaints}`)),
    );
  });
}
