// `node proofs/stop-delay.mjs [stops]`: two services under moult behind HAProxy (Debian's), which asks /readyz for the health
// of each five times a second and never tries a request twice. Under strict clients one after the other is stopped and started
// again, 20 times, with --stop-delay and --unready-path: no request may fail. Before that two stops without a delay, at which
// some must fail, or the clients would not see it. Exit status 1 otherwise, 2 where HAProxy is missing.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { root, until, verdict } from './harness.mjs';

const HAPROXY = '/usr/sbin/haproxy';
const CONTROL_STOPS = 2;
const cli = path.join(root, 'dist/cli/main.js');
const wanted = Number(process.argv[2] ?? 20);
if (!existsSync(HAPROXY)) {
  console.error('HAProxy is missing: node scripts/debian-packages.mjs haproxy');
  process.exit(2);
}
const { startLoad } = await import('../dist/verify/load.js');

const folder = mkdtempSync(path.join(tmpdir(), 'moult-stop-delay-'));
const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...outer } = process.env;
const env = { ...outer, XDG_RUNTIME_DIR: folder, NO_COLOR: '1' };
const services = { a: { port: await freePort() }, b: { port: await freePort() } };
const front = await freePort();
const statsSocket = path.join(folder, 'haproxy.sock');
const DELAY = ['--stop-delay', '4s', '--unready-path', '/readyz', '--keep-alive', '65s'];
const clients = { 'kept-alive': 16, pipelined: 4, 'slow-body': 4, 'new-connection': 8 };
const problems = [];
let haproxy;

try {
  for (const name of Object.keys(services)) start(name, []);
  await Promise.all(Object.keys(services).map(serves));
  haproxy = await startHaproxy();
  const control = await underLoad(CONTROL_STOPS, []);
  if (control.failed + control.lost === 0)
    problems.push('no request failed without a delay: nothing is shown');
  for (const name of Object.keys(services)) await stopAndStart(name, DELAY);
  const { failed, lost, duplicated, answered, failures, seenDown } = await underLoad(wanted, DELAY);
  if (failed + lost + duplicated > 0) problems.push(JSON.stringify(failures.slice(0, 10)));
  if (answered === 0) problems.push('no request was answered');
  if (seenDown < wanted) problems.push(`HAProxy saw only ${seenDown} of ${wanted} before they ended`);
  console.log(
    `${wanted} stops and starts behind HAProxy: ${answered} requests answered, ${failed} failed, ${lost} lost, ${duplicated} twice; ` +
      `HAProxy saw ${seenDown} of them before the service ended. Without --stop-delay, ${CONTROL_STOPS} stops: ` +
      `${control.answered} answered, ${control.failed + control.lost} failed`,
  );
} finally {
  // The second one ends the delay.
  for (const name of Object.keys(services))
    spawn(process.execPath, [cli, 'stop', name], { env, stdio: 'ignore' });
  await pause(500);
  for (const name of Object.keys(services)) moult('stop', name);
  for (const { process: one } of Object.values(services)) one?.kill('SIGKILL');
  haproxy?.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
verdict(problems);

/** So many stops and starts, one service after the other, under strict clients. */
async function underLoad(stops, options) {
  await up();
  const load = startLoad({ target: { host: '127.0.0.1', port: front }, check: 'echo', clients });
  let seenDown = 0;
  let found;
  try {
    await pause(500);
    for (let n = 0; n < stops; n += 1) {
      if (await stopAndStart(n % 2 === 0 ? 'a' : 'b', options)) seenDown += 1;
      await up();
      await pause(300);
    }
  } finally {
    found = await load.stop();
  }
  return { ...found.total, failures: found.failures, seenDown };
}

/** @returns whether HAProxy had it down while it still lived. */
async function stopAndStart(name, options) {
  const one = services[name];
  const stopping = new Promise((resolve) => {
    spawn(process.execPath, [cli, 'stop', name], { env, stdio: 'ignore' }).once('exit', resolve);
  });
  let isOver = false;
  stopping.then(() => {
    isOver = true;
  });
  let wasSeen = false;
  while (!isOver) {
    if ((await states())[name]?.startsWith('DOWN')) wasSeen ||= one.process.exitCode === null;
    await pause(20);
  }
  const code = await stopping;
  if (code !== 0) problems.push(`moult stop ${name} ended with ${code}`);
  start(name, options);
  await serves(name);
  return wasSeen;
}

function start(name, options) {
  const service = path.join(root, 'test/fixtures/services/http.mjs');
  services[name].process = spawn(process.execPath, [cli, 'run', '--name', name, ...options, '--', service], {
    env: { ...env, PORT: String(services[name].port) },
    stdio: 'ignore',
  });
}

function moult(...words) {
  return spawnSync(process.execPath, [cli, ...words], { env, encoding: 'utf8' });
}

function serves(name) {
  return until(`${name} serves`, () => {
    try {
      return JSON.parse(moult('status', name, '--json').stdout).state === 'serving';
    } catch {
      return false;
    }
  });
}

function up() {
  return until('HAProxy has both up', async () => {
    const found = await states();
    return Object.keys(services).every((name) => found[name] === 'UP');
  });
}

async function startHaproxy() {
  const config = path.join(folder, 'haproxy.cfg');
  const servers = Object.entries(services).map(
    ([name, { port }]) => `  server ${name} 127.0.0.1:${port} check`,
  );
  writeFileSync(
    config,
    `global
  stats socket ${statsSocket} mode 600 level admin
defaults
  mode http
  timeout connect 5s
  timeout check 10s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  retries 0
  http-reuse always
listen front
  bind 127.0.0.1:${front}
  option httpchk GET /readyz
  http-check expect status 200
  default-server inter 200ms fall 2 rise 2
${servers.join('\n')}
`,
  );
  const started = spawn(HAPROXY, ['-db', '-f', config], { stdio: ['ignore', 'ignore', 'inherit'] });
  await until('HAProxy answers', () => states().then((found) => found.a !== undefined));
  return started;
}

/** What HAProxy holds of each service. Source: HAProxy's management guide, "show stat": fields 2 and 18. */
function states() {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(statsSocket, () => socket.write('show stat\n'));
    socket.setEncoding('utf8').on('data', (more) => {
      text += more;
    });
    socket.on('error', () => resolve({}));
    socket.on('close', () => {
      const rows = text.split('\n').map((line) => line.split(','));
      resolve(Object.fromEntries(rows.filter((row) => row.length > 18).map((row) => [row[1], row[17]])));
    });
  });
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
