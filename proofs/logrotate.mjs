// `node proofs/logrotate.mjs [rotations]`: the real logrotate moves the file of --output aside 20 times while a service
// writes 2,000 numbered lines a second to it, and compresses what it has moved. Between the rotations the service is
// restarted, crashes, loses its supervisor and is adopted, and moult is upgraded. Each line must be there once and whole.
// Exit status 1 otherwise, 2 where logrotate is missing.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const LOGROTATE = '/usr/sbin/logrotate';
const PER_SECOND = 2000;
const root = fileURLToPath(new URL('..', import.meta.url));
const cli = path.join(root, 'dist/cli/main.js');
const rotations = Number(process.argv[2] ?? 20);
if (!existsSync(LOGROTATE)) {
  console.error('logrotate is missing: node scripts/debian-packages.mjs logrotate');
  process.exit(2);
}

const folder = mkdtempSync(path.join(tmpdir(), 'moult-logrotate-'));
const file = path.join(folder, 'app.log');
const port = await freePort();
const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...outer } = process.env;
const env = { ...outer, XDG_RUNTIME_DIR: path.join(folder, 'run'), PORT: String(port), NO_COLOR: '1' };
const problems = [];
let supervisor;
const between = ['restart', 'nothing', 'crash', 'adoption', 'upgrade'];
const done = Object.fromEntries(between.map((name) => [name, 0]));
const killed = new Set();

start();
try {
  await serves();
  for (let rotation = 0; rotation < rotations; rotation += 1) {
    await pause(300);
    rotate(rotation);
    const name = between[rotation % between.length];
    await happen(name);
    done[name] += 1;
  }
  await pause(300);
} finally {
  moult('stop');
  supervisor.kill('SIGKILL');
}
const figures = read();
const happened = between.filter((name) => name !== 'nothing').map((name) => `${done[name]} of ${name}`);
console.log(
  `${rotations} rotations, between them ${happened.join(', ')}: ${figures.lines} lines of ${figures.processes} processes in ` +
    `${figures.files} files (${Math.round(figures.bytes / 2 ** 20)} MB), ${figures.missing} lost, ${figures.twice} twice, ${figures.cut} cut`,
);
for (const problem of problems.slice(0, 20)) console.log(`    ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;
if (problems.length === 0) rmSync(folder, { recursive: true, force: true });
else console.log(`    the files are in ${folder}`);

function start() {
  const service = path.join(root, 'proofs/logrotate/service.mjs');
  const options = ['--name', 'rotated', '--output', file, '--probation', '200ms'];
  supervisor = spawn(process.execPath, [cli, 'run', ...options, '--', service, String(PER_SECOND)], {
    cwd: folder,
    env,
    stdio: 'ignore',
  });
}

function moult(...words) {
  return spawnSync(process.execPath, [cli, words[0], 'rotated', ...words.slice(1)], {
    env,
    encoding: 'utf8',
  });
}

function state() {
  const { stdout } = moult('status', '--json');
  try {
    return JSON.parse(stdout);
  } catch {
    return undefined;
  }
}

/** Waits until one generation serves, and is not watched any more. */
async function serves(other = () => true) {
  for (let tries = 0; tries < 300; tries += 1) {
    const found = state();
    const serving = found?.generations?.filter((one) => one.state === 'serving') ?? [];
    if (found?.state === 'serving' && serving.length === 1 && other(found)) return found;
    await pause(100);
  }
  throw new Error(`it does not serve: ${JSON.stringify(state())}`);
}

/**
 * Moves the file aside, and has it opened anew: in the first half by the command, after which what was moved is compressed
 * at once; then by the signal, without. Not in turns: to logrotate they would be two kinds of names, of which it overwrites one.
 */
function rotate(rotation) {
  const byCommand = rotation < rotations / 2;
  const tell = byCommand
    ? `${process.execPath} ${cli} logs rotated --reopen`
    : `kill -USR1 ${supervisor.pid}`;
  const config = path.join(folder, 'logrotate.conf');
  const compress = byCommand ? 'compress\n  nodelaycompress' : 'nocompress';
  const script = `postrotate\n    ${tell} > ${folder}/reopen.out 2>&1\n  endscript`;
  writeFileSync(
    config,
    `${file} {\n  rotate 1000\n  missingok\n  ${compress}\n  nocreate\n  ${script}\n}\n`,
    {
      mode: 0o644,
    },
  );
  const { status, stderr } = spawnSync(LOGROTATE, ['-f', '-s', path.join(folder, 'state'), config], {
    env,
    encoding: 'utf8',
  });
  const said = readFileSync(path.join(folder, 'reopen.out'), 'utf8');
  if (status !== 0) problems.push(`logrotate ended with ${status}: ${stderr} ${said}`);
  if (/still writes?/.test(said)) problems.push(said.trim());
}

async function happen(name) {
  if (name === 'nothing') return;
  const before = await serves();
  const { pid, generation } = before.generations.find((one) => one.state === 'serving');
  if (name === 'restart') {
    const { status, stderr } = moult('restart', '--wait=confirmed');
    if (status !== 0) problems.push(`a restart failed: ${stderr}`);
  } else if (name === 'crash') {
    killed.add(pid);
    process.kill(pid, 'SIGKILL');
    await serves((now) => now.generations.every((one) => one.generation !== generation));
  } else if (name === 'adoption') {
    const ended = new Promise((resolve) => supervisor.once('exit', resolve));
    supervisor.kill('SIGKILL');
    await ended;
    await pause(200);
    start();
    await serves((now) => now.pid === supervisor.pid);
  } else {
    const { status, stderr } = moult('upgrade');
    if (status !== 0) problems.push(`an upgrade failed: ${stderr}`);
    await serves();
  }
}

function read() {
  const names = readdirSync(folder).filter((name) => name.startsWith('app.log'));
  const figures = { files: names.length, lines: 0, bytes: 0, processes: 0, missing: 0, twice: 0, cut: 0 };
  const seen = new Map();
  const ends = new Map();
  for (const name of names) {
    const raw = readFileSync(path.join(folder, name));
    const content = name.endsWith('.gz') ? gunzipSync(raw) : raw;
    figures.bytes += content.length;
    const lines = content.toString('latin1').split('\n');
    if (lines.pop() !== '') cut(name, 'its last line has no end');
    for (const line of lines) take(name, line);
  }
  function cut(name, what) {
    figures.cut += 1;
    problems.push(`${name}: ${what}`);
  }
  function take(name, line) {
    const [, pid, stream, n, length, filler] = /^N (\d+) (out|err) (\d+) (\d+) (x+)$/.exec(line) ?? [];
    const end = /^E (\d+) (\d+) (\d+)$/.exec(line);
    if (end !== null) ends.set(end[1], { out: Number(end[2]), err: Number(end[3]) });
    else if (/^\{"level":.*\}$/.test(line)) return;
    else if (filler === undefined || filler.length !== Number(length)) cut(name, line.slice(0, 100));
    else {
      figures.lines += 1;
      const key = `${pid} ${stream}`;
      const numbers = seen.get(key) ?? new Set();
      seen.set(key, numbers);
      if (numbers.has(n)) {
        figures.twice += 1;
        problems.push(`${key}: line ${n} is there twice`);
      }
      numbers.add(n);
    }
  }
  const processes = new Set([...seen.keys()].map((key) => key.split(' ')[0]));
  figures.processes = processes.size;
  for (const pid of processes) {
    if (!ends.has(pid) && !killed.has(Number(pid))) problems.push(`process ${pid} has not said its end`);
    for (const stream of ['out', 'err']) {
      const numbers = seen.get(`${pid} ${stream}`) ?? new Set();
      // Of one that was killed the last number is not known.
      const expected = ends.get(pid)?.[stream] ?? Math.max(-1, ...[...numbers].map(Number)) + 1;
      const missing = expected - numbers.size;
      if (missing === 0) continue;
      figures.missing += missing;
      problems.push(`process ${pid}, ${stream}: ${missing} of ${expected} lines are missing`);
    }
  }
  return figures;
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
