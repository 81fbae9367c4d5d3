// An older release of moult and this one hand one service to each other under strict load, back and forth, each time by a
// supervisor of the one that takes over from that of the other; then the older one is upgraded in place and restarted.
//   node proofs/versions.mjs [commit] [rounds]     default: the last landed version (LANDED), 6 rounds; needs a build of moult
// The commit is built in a temporary folder, with its own packages where ours are not enough. Fails when a request fails, a connection is lost, or a round does not end well.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { ask } from '#moult/cli/services/control.js';
import { RunFolder } from '#moult/supervisor/journal/run-folder.js';
import { verdict } from '#moult/verify/report/report.js';
import { verify } from '#moult/verify/verify.js';
import { freePort } from '../scripts/free-ports.mjs';
import { root, until } from './harness.mjs';

/** The last version that landed: test/integration/versions.test.ts has it too, so an old and a new release meet. */
const LANDED = '797f283';
const commit = process.argv[2] ?? LANDED;
const rounds = Number(process.argv[3] ?? 6);
const SERVICE = path.join(root, 'test/fixtures/services/http.cjs');

const folder = await mkdtemp(path.join(tmpdir(), 'moult-versions-'));
const older = path.join(folder, 'older');
const link = path.join(folder, 'moult');
const port = await freePort();
const runtimeFolder = path.join(folder, 'run');
const env = { ...process.env, XDG_RUNTIME_DIR: runtimeFolder, PORT: String(port), NO_COLOR: '1' };
const service = new RunFolder('service', path.join(runtimeFolder, 'moult'));
const children = [];

/** Builds the commit with our packages, or with its own where it has one that we don't have any more. */
async function buildOlder() {
  execFileSync('sh', ['-c', `mkdir -p "$0" && git archive ${commit} | tar -x -C "$0"`, older], { cwd: root });
  const build = path.join(older, 'scripts/build.mjs');
  if (await areOurs()) {
    await symlink(path.join(root, 'node_modules'), path.join(older, 'node_modules'));
    const text = await readFile(build, 'utf8');
    await writeFile(build, text.replace(/if \(!existsSync\(stamp\)[\s\S]*?\n}\n/, ''));
  }
  execFileSync(process.execPath, [build], { cwd: older, stdio: 'inherit' });
}

async function areOurs() {
  const { dependencies, devDependencies } = JSON.parse(
    await readFile(path.join(older, 'package.json'), 'utf8'),
  );
  const names = Object.keys({ ...dependencies, ...devDependencies });
  return names.every((name) => existsSync(path.join(root, 'node_modules', name, 'package.json')));
}

function run(release) {
  const options = ['--probation', '500ms', '--drain-timeout', '4s', '--ready-timeout', '20s'];
  const args = ['run', '--name', 'service', '--take-over', service.path, ...options, '--', SERVICE];
  const child = spawn(process.execPath, [path.join(release, 'dist/cli/main.js'), ...args], {
    cwd: root,
    env: { ...env, PWD: root },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const one = { child, output: '' };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (one.output += text));
  children.push(one);
  return one;
}

const hasEnded = ({ child }) => child.exitCode !== null || child.signalCode !== null;
const statusNow = () => ask(service, { type: 'status' }).catch(() => undefined);

/** Waits until this supervisor has one generation, which serves. */
function servesAlone({ child }) {
  return until('one serves alone', async () => {
    if (hasEnded({ child })) throw new Error('moult run has ended');
    const status = await statusNow();
    return status?.pid === child.pid && status.state === 'serving' && status.generations.length === 1;
  });
}

const releases = [older, root];
let turn = 0;
let current;

async function takeOver() {
  turn += 1;
  current = run(releases[turn % 2]);
  await servesAlone(current);
  return { ok: true };
}

async function underLoad(what, count, restart) {
  const target = { host: '127.0.0.1', port };
  const load = {
    check: 'echo',
    clients: { 'kept-alive': 20, pipelined: 5, 'slow-body': 5, 'new-connection': 5 },
  };
  const result = await verify({ service: { target, restart, stop: async () => {} }, load, restarts: count });
  console.log(`${what}: ${verdict(result)}`);
  for (const failure of result.load.failures.slice(0, 10)) console.log(JSON.stringify(failure));
  if (!result.ok) process.exitCode = 1;
}

async function upgradeInPlace() {
  current = run(link);
  await servesAlone(current);
  await symlink(root, `${link}.new`);
  await rename(`${link}.new`, link);
  let isUpgraded = false;
  await underLoad('older, upgraded in place and restarted twice', 3, async () => {
    if (isUpgraded) await ask(service, restartQuestion);
    else {
      const before = await statusNow();
      await ask(service, { type: 'upgrade' });
      await until('it is upgraded', async () => {
        const now = await statusNow();
        return now?.state === 'serving' && now.startedAt !== before.startedAt;
      });
      isUpgraded = true;
    }
    await servesAlone(current);
    return { ok: true };
  });
}

const restartQuestion = {
  type: 'restart',
  wait: true,
  ifBusy: 'wait',
  allowFewerListeners: false,
  untilConfirmed: false,
  whenQuiet: null,
};

async function stop() {
  await ask(service, { type: 'stop' }).catch(() => {});
  for (const one of children) if (!hasEnded(one)) one.child.kill('SIGTERM');
}

try {
  await buildOlder();
  await symlink(older, link);
  current = run(older);
  await servesAlone(current);
  await underLoad(`${commit} and this release take over from each other`, rounds, takeOver);
  await stop();
  await until('all have ended', () => children.every(hasEnded));
  await upgradeInPlace();
} catch (error) {
  process.exitCode = 1;
  console.error(error, children.at(-1)?.output.slice(-3000));
} finally {
  await stop();
  await rm(folder, { recursive: true, force: true });
}
