// `node proofs/languages.mjs`: real servers in other languages, as they come from Debian, under moult: twenty
// restarts each, with clients that open a connection for each request and clients that keep theirs, and beside it in
// the same run the server's own way to reload, or a stop and a start where it has none. Exit status 1 if a client with a new connection was
// refused or reset in a restart by moult. What clients with kept connections lose there is the server's own drain, and is
// told, with how much of it a restart costs, next to the same of its own way.
//
//   node proofs/languages.mjs --only gunicorn --only rust --restarts 5
//
// One server takes about a minute. As root it installs the Debian packages that are missing; else it says which.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort } from '../scripts/free-ports.mjs';
import { build, say, until } from './harness.mjs';
import { expectOneOf, numberOf } from './nodes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = path.join(root, 'proofs/languages');
/** Where what is compiled lies for the length of the run. */
const folder = mkdtempSync(path.join(tmpdir(), 'moult-languages-'));

/**
 * Each server: its Debian packages, how it is made and started, its stop signal, and how it reloads by itself: a
 * signal to the process that was started, or null for none.
 */
const SERVERS = {
  'go net/http': {
    packages: ['golang-go'],
    make: () => go('http.go', 'go-http'),
    command: (at) => [path.join(folder, 'go-http'), at],
    reload: null,
  },
  'go tableflip': {
    packages: ['golang-go', 'golang-github-cloudflare-tableflip-dev'],
    make: () => go('tableflip.go', 'go-tableflip'),
    command: (at) => [path.join(folder, 'go-tableflip'), at],
    reload: 'SIGHUP',
    // The one that answers is the one to be told: the one that was started has ended.
    leaderAnswers: true,
  },
  gunicorn: {
    packages: ['gunicorn'],
    command: (at, isOwn) => [
      '/usr/bin/python3',
      '-m',
      'gunicorn',
      ...['-k', 'gthread', '-w', '2', '--threads', '8', '--keep-alive', '75', '--log-level', 'error'],
      ...['--chdir', sources, ...(isOwn ? ['-b', at] : []), 'wsgi:app'],
    ],
    reload: 'SIGHUP',
  },
  uvicorn: {
    packages: ['python3-uvicorn'],
    command: (at, isOwn) => [
      '/usr/bin/python3',
      '-m',
      'uvicorn',
      ...['--app-dir', sources, '--log-level', 'error', '--timeout-keep-alive', '75'],
      ...(isOwn ? ['--host', at.split(':')[0], '--port', at.split(':')[1]] : ['--fd', '3']),
      'asgi:app',
    ],
    reload: null,
  },
  puma: {
    packages: ['puma'],
    command: (at) => [
      '/usr/bin/puma',
      ...['--no-config', '--quiet', '-w', '2', '-t', '8:8', '-b', `tcp://${at}`],
      path.join(sources, 'config.ru'),
    ],
    reload: 'SIGUSR1',
  },
  starman: {
    packages: ['starman', 'libserver-starter-perl', 'libnet-server-ss-prefork-perl'],
    command: (at, isOwn) => [
      ...(isOwn ? ['/usr/bin/start_server', '--port', at, '--signal-on-hup=QUIT', '--'] : []),
      '/usr/bin/starman',
      ...['--workers', '10', '--keepalive-timeout', '75', '--disable-proctitle'],
      path.join(sources, 'app.psgi'),
    ],
    stopSignal: 'SIGQUIT',
    ownStopSignal: 'SIGTERM',
    reload: 'SIGHUP',
  },
  rust: {
    packages: ['rustc'],
    make: () =>
      run('/usr/bin/rustc', ['--edition', '2018', '-O', '-o', path.join(folder, 'rust-http'), 'http.rs']),
    command: (at) => [path.join(folder, 'rust-http'), at],
    reload: null,
  },
  php: {
    packages: ['php-cli'],
    command: (at) => ['/usr/bin/php', path.join(sources, 'http.php'), at],
    reload: null,
  },
};

/** A server has reloaded when its processes from before have been silent for so long. */
const QUIET_MS = 1000;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: Object.keys(SERVERS) },
    restarts: { type: 'string', default: '20' },
  },
});

/** Heading, width and content of each column; a negative width sets it to the left. */
const COLUMNS = [
  ['server', -13, ({ name }) => name],
  ['how', -24, ({ how }) => how],
  ['times', 5, ({ times }) => times],
  ['new', 7, ({ fresh }) => fresh.answered],
  ['failed', 6, ({ fresh }) => fresh.failures.length],
  ['kept', 7, ({ kept }) => kept.answered],
  ['failed', 6, ({ kept }) => kept.failures.length],
  ['a restart', 9, ({ kept, times }) => (kept.failures.length / times).toFixed(1)],
  ['ms each', 7, ({ msEach }) => Math.round(msEach)],
];

/** Ends what runs just now, with everything that it started. */
let endUnderWay = async () => {};
for (const name of ['SIGINT', 'SIGTERM']) {
  process.once(name, async () => {
    await endUnderWay();
    rmSync(folder, { recursive: true, force: true });
    process.exit(1);
  });
}

try {
  process.exitCode = await proveAll();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function proveAll() {
  expectOneOf('--only', values.only, Object.keys(SERVERS));
  const times = numberOf('--restarts', values.restarts);
  build({ withTests: true });
  const { Clients } = await import('../build/test/integration/clients.js');
  const { Supervised } = await import('../build/test/integration/supervised.js');
  say('4 clients with a new connection for each request, 4 that keep theirs; none tries again');
  say(row(COLUMNS.map(([head]) => head)));
  say(row(COLUMNS.map(([, width]) => '-'.repeat(Math.abs(width)))));
  let bad = 0;
  for (const name of values.only) {
    const server = SERVERS[name];
    install(server.packages);
    server.make?.();
    const port = await freePort();
    const withMoult = await underMoult(name, server, port, times, { Clients, Supervised });
    show(withMoult);
    show(await byItself(name, server, await freePort(), times, Clients));
    bad += withMoult.fresh.failures.length;
  }
  say(bad === 0 ? 'all as promised' : `${bad} not as promised`);
  return bad === 0 ? 0 : 1;
}

async function underMoult(name, server, port, times, { Clients, Supervised }) {
  const at = `127.0.0.1:${port}`;
  const stop = server.stopSignal === undefined ? [] : ['--stop-signal', server.stopSignal];
  const service = await Supervised.start({
    command: server.command(at, false),
    runOptions: ['--listen', at, '--probation', '200ms', '--drain-timeout', '5s', ...stop],
    env: environment(),
  });
  endUnderWay = () => service.kill().catch(() => {});
  try {
    const clients = startClients(Clients, port);
    await pause(500);
    const beganMs = performance.now();
    for (let n = 0; n < times; n += 1) {
      await service.restart('--wait', 'confirmed');
      // Each by itself: the next one begins when the last predecessor is gone.
      await until('the predecessor has ended', async () => (await service.status()).generations.length === 1);
    }
    const msEach = (performance.now() - beganMs) / times;
    const found = await clients.stop();
    await service.stop();
    return { name, how: 'moult restart', times, msEach, ...found };
  } catch (error) {
    await service.kill().catch(() => {});
    throw new Error(`${name}: ${error.message}\n${service.output.slice(-2000)}`, { cause: error });
  }
}

async function byItself(name, server, port, times, Clients) {
  const at = `127.0.0.1:${port}`;
  let own = await startAlone(server, at, port);
  endUnderWay = () => end(own, 'SIGKILL');
  try {
    const clients = startClients(Clients, port);
    await pause(500);
    let tookMs = 0;
    for (let n = 0; n < times; n += 1) {
      const beganMs = performance.now();
      if (server.reload === null) {
        await end(own, 'SIGTERM');
        own = await startAlone(server, at, port);
        tookMs += performance.now() - beganMs;
      } else {
        const before = clients.by();
        process.kill(server.leaderAnswers ? clients.lastBy() : own.pid, server.reload);
        await until(`${name} has reloaded`, () => clients.isOver(before));
        tookMs += performance.now() - beganMs - QUIET_MS;
      }
    }
    const found = await clients.stop();
    const how = server.reload === null ? 'stop and start (no own)' : `its own (${server.reload})`;
    return { name, how, times, msEach: tookMs / times, ...found };
  } finally {
    await end(own, server.ownStopSignal ?? server.stopSignal ?? 'SIGTERM');
  }
}

/** Both kinds of clients; what answers them is a process number. */
function startClients(Clients, port) {
  const fresh = new Clients({ port }, { pauseMs: 15 });
  const kept = new Clients({ port }, { pauseMs: 15, keepsAlive: true });
  // Some keep an old process for as long as a kept connection is busy: that is no part of the reload.
  const seen = () => [...fresh.bodies];
  return {
    by: () => new Set(seen().map(([body]) => body)),
    lastBy: () => Number([...fresh.bodies].sort(([, a], [, b]) => b - a)[0]?.[0]),
    /** Whether somebody else answers, and none of these has for a while. */
    isOver: (before) =>
      seen().some(([body]) => !before.has(body)) &&
      seen().every(([body, lastMs]) => !before.has(body) || performance.now() - lastMs > QUIET_MS),
    stop: async () => {
      await Promise.all([fresh.stop(), kept.stop()]);
      return { fresh, kept };
    },
  };
}

/** Starts a server as it is without moult, as the leader of a group, and waits until it accepts. */
async function startAlone(server, at, port) {
  const [command, ...args] = server.command(at, true);
  const child = spawn(command, args, { env: environment(), detached: true, stdio: 'ignore' });
  await until(`${command} accepts`, () => accepts(port));
  return child;
}

/** Ends the whole group and waits until it is gone. */
async function end({ pid }, signal) {
  const send = (what) => {
    try {
      return process.kill(-pid, what);
    } catch {
      return false;
    }
  };
  send(signal);
  await until('it has ended', () => !send(0), { boundMs: 25_000 }).catch(() => send('SIGKILL'));
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function environment() {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
  delete env.NODE_OPTIONS;
  return env;
}

function go(source, name) {
  const env = {
    ...environment(),
    GO111MODULE: 'off',
    GOPATH: '/usr/share/gocode',
    GOCACHE: path.join(folder, 'cache'),
    GOFLAGS: '',
  };
  run('/usr/bin/go', ['build', '-o', path.join(folder, name), source], env);
}

function run(command, args, env = environment()) {
  execFileSync(command, args, { cwd: sources, env, stdio: ['ignore', 2, 2] });
}

/** Installs what is missing, or says what to install. */
function install(packages) {
  const missing = packages.filter((name) => !existsSync(`/usr/share/doc/${name}`));
  if (missing.length === 0) return;
  if (process.getuid() !== 0)
    throw new Error(`needs ${missing.join(', ')}: apt-get install ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], {
    env,
    stdio: ['ignore', 2, 2],
  });
}

function show(found) {
  say(row(COLUMNS.map(([, , cell]) => cell(found))));
  for (const line of summary(found)) say(`    ${line}`);
}

/** What went wrong, by reason. */
function summary({ fresh, kept }) {
  const count = (failures) => {
    const by = new Map();
    for (const failure of failures) by.set(failure, (by.get(failure) ?? 0) + 1);
    return [...by].map(([reason, times]) => `${times} x ${reason}`);
  };
  return [
    ...count(fresh.failures).map((line) => `new: ${line}`),
    ...count(kept.failures).map((line) => `kept: ${line}`),
  ];
}

function row(cells) {
  return COLUMNS.map(([, width], i) =>
    width < 0 ? String(cells[i]).padEnd(-width) : String(cells[i]).padStart(width),
  ).join('  ');
}
