// Supervisors that know nothing of each other take over from one another under load, and one process of the four that
// take part is killed at a random moment in some of them.
//   node proofs/take-over.mjs [rounds] [seed]     default: 20 rounds; needs a build of moult and of the tests
// Fails when a connection is refused, when anything fails or is lost in a round without a kill, or when after a round
// not exactly one process answers.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ask } from '#moult/cli/services/control.js';
import { RunFolder } from '#moult/supervisor/journal/run-folder.js';
import { startLoad } from '#moult/verify/load.js';
import { freePort } from '../scripts/free-ports.mjs';

const rounds = Number(process.argv[2] ?? 20);
const seed = Number(process.argv[3] ?? Date.now() % 100_000);
const root = fileURLToPath(new URL('..', import.meta.url));
const SERVICE = path.join(root, 'test/fixtures/services/http.cjs');
const VICTIMS = [null, 'new service', 'new supervisor', 'old service', 'old supervisor'];
const KILL_WITHIN_MS = 2500;
const BOUND_MS = 30_000;

let state = seed;
const random = () => {
  state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
  return state / 2 ** 31;
};

const folder = await mkdtemp(path.join(tmpdir(), 'moult-take-over-'));
const port = await freePort();
const env = { ...process.env, XDG_RUNTIME_DIR: folder, PORT: String(port), NO_COLOR: '1' };
const runFolder = new RunFolder('service', path.join(folder, 'moult'));
const all = [];
const problems = [];

function run() {
  const args = ['dist/cli/main.js', 'run', '--name', 'service', '--take-over', runFolder.path];
  const options = ['--probation', '1s', '--drain-timeout', '4s', '--ready-timeout', '8s'];
  const mark = `${process.pid}-${all.length}`;
  const child = spawn(process.execPath, [...args, ...options, '--', SERVICE], {
    cwd: root,
    env: { ...env, PWD: root, MOULT_TEST_MARK: mark },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const one = {
    child,
    output: '',
    mark,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
  };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (one.output += text));
  all.push(one);
  return one;
}

/** The processes below a supervisor that were started with its mark. */
function services({ child, mark }) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== child.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`MOULT_TEST_MARK=${mark}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function until(what, condition) {
  const limit = performance.now() + BOUND_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > limit) throw new Error(`waited ${BOUND_MS} ms until ${what}`);
    await pause(50);
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

/** Waits until one generation alone serves, and its supervisor answers. */
function atRest() {
  return until('one serves alone', async () => {
    const status = await ask(runFolder, { type: 'status' }).catch(() => undefined);
    const [only, ...more] = status?.generations ?? [];
    if (status?.state !== 'serving' || more.length > 0 || only?.state !== 'serving') return false;
    return all.flatMap(services).join() === String(only.pid) && { supervisor: status.pid, service: only.pid };
  });
}

/** Whether commands find this one. */
function isFound({ child }) {
  return ask(runFolder, { type: 'status' }).then(
    ({ pid }) => pid === child.pid,
    () => false,
  );
}

function load() {
  return startLoad({
    target: { host: '127.0.0.1', port },
    check: 'echo',
    clients: { 'kept-alive': 20, 'new-connection': 3 },
    thinkMs: 20,
    requestTimeoutMs: 25_000,
    connectTimeoutMs: 25_000,
  });
}

console.log(`seed ${seed}, ${rounds} rounds`);
try {
  run();
  await atRest();
  for (let round = 1; round <= rounds; round += 1) {
    const victim = VICTIMS[Math.floor(random() * VICTIMS.length)];
    const before = await atRest();
    const running = load();
    await until('the load goes on', () => running.snapshot().total.answered > 50);
    const next = run();
    const atMs = Math.round(random() * KILL_WITHIN_MS);
    if (victim === null) await until('it has taken over', () => isFound(next));
    else {
      await pause(atMs);
      if (victim === 'old service') kill(before.service);
      else if (victim === 'old supervisor') kill(before.supervisor);
      else if (victim === 'new supervisor') kill(next.child.pid);
      else for (const pid of services(next)) kill(pid);
    }
    // One that has to be started again by whoever cares for it: of a killed supervisor its service waits for the next.
    await pause(1500);
    await until('a supervisor answers', async () => {
      const answers = await ask(runFolder, { type: 'status' }).then(
        () => true,
        () => false,
      );
      if (!answers && all.every((one) => one.hasEnded())) run();
      return answers;
    });
    const after = await atRest();
    const { total, failures } = await running.stop();
    const refused = ['refused', 'connect-failed', 'connect-timeout'].filter(
      (reason) => total.reasons[reason],
    );
    const told = `round ${round}: ${victim ?? 'nobody'} killed${victim === null ? '' : ` at ${atMs} ms`}: ${total.answered} answered, ${total.failed} failed, ${total.lost} lost; ${after.service === before.service ? 'the old one' : 'the new one'} serves`;
    console.log(told);
    const isService = victim?.endsWith('service');
    if (refused.length > 0) problems.push(`${told}: ${refused.join()}`);
    if (!isService && total.failed + total.lost > 0)
      problems.push(`${told}: ${JSON.stringify(failures.slice(0, 3))}`);
    if (total.duplicated > 0) problems.push(`${told}: ${total.duplicated} duplicated`);
    if (victim === null && after.service === before.service) problems.push(`${told}: it did not take over`);
  }
} catch (error) {
  problems.push(String(error), ...all.slice(-3).map(({ output }) => output.slice(-2500)));
} finally {
  for (const { child } of all) kill(child.pid);
  for (const one of all) for (const pid of services(one)) kill(pid);
  await rm(folder, { recursive: true, force: true });
}
console.log(problems.length === 0 ? 'nothing was refused, nothing was lost' : problems.join('\n'));
process.exit(problems.length === 0 ? 0 : 1);
