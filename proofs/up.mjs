// `node proofs/up.mjs`: `moult up` with four services under strict clients: all are restarted, one is broken at the second
// restart, `moult up` is killed and started again, then killed with all its supervisors and started again, and all are
// restarted once more. No request may fail. Exit status 1 otherwise.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { startLoad } from '../dist/verify/load.js';
import { freePorts } from '../scripts/free-ports.mjs';
import { root, until, verdict } from './harness.mjs';

const CLI = path.join(root, 'dist/cli/main.js');
const AFTER = { db: [], api: ['db'], web: ['api'], worker: ['db'] };
const NAMES = Object.keys(AFTER);
const clients = { 'kept-alive': 6, pipelined: 2, 'slow-body': 2, 'new-connection': 2 };

const problems = [];
const folder = await mkdtemp(path.join(tmpdir(), 'moult-up-'));
const ports = Object.fromEntries((await freePorts(NAMES.length)).map((port, at) => [NAMES[at], port]));
const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...outer } = process.env;
const env = { ...outer, XDG_RUNTIME_DIR: path.join(folder, 'run'), PWD: folder, NO_COLOR: '1' };
await mkdir(env.XDG_RUNTIME_DIR, { mode: 0o700 });
const service = path.join(folder, 'service.mjs');
await writeFile(
  service,
  `if (process.env.BROKEN === 'yes') throw new Error('the release is broken');
await import(${JSON.stringify(path.join(root, 'test/fixtures/services/http.mjs'))});`,
);
const ups = [];
const loads = [];
try {
  await prove();
} catch (error) {
  problems.push(error.stack);
} finally {
  const all = await Promise.all(loads.map((load) => load.stop()));
  for (const { failures } of all)
    if (failures.length > 0) problems.push(JSON.stringify(failures.slice(0, 5)));
  const sum = (key) => all.reduce((most, { total }) => most + total[key], 0);
  const stopped = await moult('stop');
  if (stopped.code !== 0) problems.push(`moult stop: ${stopped.text}`);
  for (const { child } of ups) child.kill('SIGKILL');
  console.log(
    `4 services, 3 restarts of all of them, one broken at the second, moult up killed twice, once with its 4 supervisors: ` +
      `${sum('answered')} requests answered, ${sum('failed')} failed, ${sum('lost')} lost, ${sum('duplicated')} twice`,
  );
  await rm(folder, { recursive: true, force: true });
}
verdict(problems);

async function prove() {
  await write();
  const first = up();
  await serves(1, first);
  for (const name of NAMES)
    loads.push(startLoad({ target: { host: '127.0.0.1', port: ports[name] }, check: 'echo', clients }));
  expectCode('the first restart', await moult('restart', '--wait=confirmed'), 0);
  await runs({ db: 2, api: 2, web: 2, worker: 2 });

  await write('api');
  const failed = await moult('restart', '--wait=confirmed');
  expectCode('the second restart', failed, 1);
  console.log(failed.text.replaceAll(/^/gm, '  | '));
  await runs({ db: 3, api: 2, web: 2, worker: 2 });

  first.child.kill('SIGKILL');
  await first.ended;
  const second = up();
  await until(
    'the next moult up follows all four',
    () => NAMES.every((name) => second.text.includes(`${name} `)),
    { said: second },
  );
  for (const { name, pid } of await status()) {
    if (!NAMES.includes(name)) problems.push(`${name} runs`);
    process.kill(pid, 'SIGKILL');
  }
  second.child.kill('SIGKILL');
  await second.ended;
  await pause(500);
  const third = up();
  await until(
    'all are supervised again',
    async () => {
      const all = await status();
      return all.length === NAMES.length && all.every(({ state }) => state === 'serving');
    },
    { said: third },
  );
  await write();
  expectCode('the last restart', await moult('restart', '--wait=confirmed'), 0);
}

function write(broken) {
  const services = Object.fromEntries(
    NAMES.map((name) => [
      name,
      {
        command: 'service.mjs',
        after: AFTER[name],
        env: { PORT: ports[name], BROKEN: name === broken ? 'yes' : 'no' },
      },
    ]),
  );
  return writeFile(path.join(folder, 'moult.config.json'), JSON.stringify({ probation: '500ms', services }));
}

function up() {
  const child = spawn(process.execPath, [CLI, 'up'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const one = { child, text: '', ended: new Promise((resolve) => child.once('exit', resolve)) };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      one.text += chunk;
    });
  ups.push(one);
  return one;
}

function serves(generation, { text }) {
  return until(`all serve ${text}`, async () => {
    const all = await status();
    return (
      all.length === NAMES.length &&
      all.every(({ generations, state }) => state === 'serving' && generations[0].generation === generation)
    );
  });
}

async function runs(expected) {
  for (const { name, generations } of await status()) {
    const found = Math.max(...generations.flatMap((one) => (one.state === 'serving' ? one.generation : [])));
    if (found !== expected[name])
      problems.push(`${name} runs generation ${found}, expected ${expected[name]}`);
  }
}

async function status() {
  const { text, code } = await moult('status', '--json');
  if (code !== 0) return [];
  return [JSON.parse(text)].flat();
}

function expectCode(what, { code, text }, expected) {
  if (code !== expected) problems.push(`${what} ended with ${code}: ${text}`);
}

function moult(...words) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CLI, ...words], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      if (!words.includes('--json')) text += chunk;
    });
    child.once('close', (code) => resolve({ code, text }));
  });
}
