// Restarts a service again and again under load, and says what it cost.
//   node proofs/soak.mjs broken  [--restarts 50]    a third of the releases are broken, each in another way
//   node proofs/soak.mjs long    [--restarts 500]   memory, descriptors, threads and processes stay flat (100 at least)
//   node proofs/soak.mjs killed  [--kills 20]       the supervisor is killed and run again
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort } from '../scripts/free-ports.mjs';
import { Bench, noteports, until } from '../test/fixtures/faults/cell.mjs';

const { ask } = await import('#moult/cli/services/control.js');
const { startLoad } = await import('#moult/verify/load.js');

const root = fileURLToPath(new URL('..', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    restarts: { type: 'string' },
    kills: { type: 'string', default: '20' },
    think: { type: 'string', default: '20' },
  },
});
/** V8 compiles and lays out what restarts run: about 1 MB within the first 50, whatever follows, and nothing after. */
const WARM_UP = 50;
const BROKEN = ['throws', 'exits', 'answers-500', 'hangs', 'wrong-port'];
const say = (text) => process.stdout.write(`${text}\n`);
const soaks = { broken: soakBroken, long: soakLong, killed: soakKilled };

const soak = soaks[positionals[0] ?? ''];
if (soak === undefined) {
  process.stderr.write(
    `expected ${Object.keys(soaks).join(', ')}, received ${positionals[0] ?? 'nothing'}\n`,
  );
  process.exitCode = 2;
} else process.exitCode = (await soak()) ? 0 : 1;

/** A service whose release is what a link points at, under the mixed load. */
async function setUp(runOptions) {
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-soak-'));
  const victims = path.join(folder, 'victims');
  mkdirSync(victims);
  const source = path.join(root, 'test/fixtures/faults/release.mjs');
  for (const kind of ['good', ...BROKEN])
    writeFileSync(
      path.join(folder, `${kind}.mjs`),
      `globalThis.KIND = ${JSON.stringify(kind)};\nawait import(${JSON.stringify(source)});\n`,
    );
  const link = path.join(folder, 'current.mjs');
  const deploy = (kind) => {
    symlinkSync(path.join(folder, `${kind}.mjs`), `${link}.next`);
    renameSync(`${link}.next`, link);
  };
  deploy('good');
  const port = await freePort();
  const bench = new Bench({ runOptions, command: [link], env: { PORT: String(port), VICTIMS: victims } });
  const collects = path.join(root, 'test/fixtures/collects-garbage.mjs');
  const memory = path.join(folder, 'memory.json');
  bench.nodeFlags = [`--import=${collects}`];
  bench.runEnv = { ...bench.runEnv, MEMORY_FILE: memory };
  const noted = noteports();
  let load;
  const tearDown = async () => {
    await load?.stop(0);
    noted.end();
    await bench.clear();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await bench.run();
    load = startLoad({
      target: { host: '127.0.0.1', port },
      check: 'echo',
      clients: { 'kept-alive': 40, pipelined: 6, 'slow-body': 6, 'new-connection': 6 },
      thinkMs: Number(values.think),
      requestTimeoutMs: 30_000,
      connectTimeoutMs: 30_000,
      rampMs: 500,
    });
    await until('the load runs', () => load.snapshot().total.answered > 300);
  } catch (error) {
    await tearDown();
    throw error;
  }
  return { bench, load, noted, deploy, victims, memory, tearDown };
}

async function soakBroken() {
  const restarts = Number(values.restarts ?? 50);
  const up = await setUp([
    ...['--check', '/', '--check-retries', '1', '--check-timeout', '4s', '--ready-timeout', '6s'],
    ...['--probation', '6s', '--hang-timeout', '2500ms', '--drain-timeout', '10s'],
  ]);
  const { bench, load, noted, deploy, victims } = up;
  const wrong = [];
  try {
    for (let n = 1; n <= restarts; n += 1) {
      const kind = n % 3 === 0 ? BROKEN[(n / 3 - 1) % BROKEN.length] : 'good';
      deploy(kind);
      const began = load.nowMs();
      const before = load.snapshot().total;
      const flags = kind === 'exits' || kind === 'hangs' ? ['--wait=confirmed'] : [];
      const { code, said } = await bench.moult('restart', bench.name, '--json', ...flags);
      const told = /MOULT_[A-Z_]+/.exec(said)?.[0] ?? 'took over';
      if ((code === 0) !== (kind === 'good')) wrong.push(`restart ${n} (${kind}): ${told}`);
      // A broken one must be gone before the next is judged.
      if (kind !== 'good') await until('it serves', async () => (await bench.status()).state === 'serving');
      await pause(200);
      const { failed, lost } = load.snapshot().total;
      say(
        `${String(n).padStart(3)} ${kind.padEnd(12)} ${told.padEnd(24)} ${Math.round(load.nowMs() - began)} ms, ` +
          `failed ${failed - before.failed}, closed ${lost - before.lost}`,
      );
    }
    const report = await load.stop();
    const dead = readdirSync(victims)
      .filter((name) => name.startsWith('victims.'))
      .map((name) => JSON.parse(readFileSync(path.join(victims, name), 'utf8')));
    const ports = new Set(dead.flatMap((one) => one.ports));
    const failed = report.failures.filter(({ what }) => what === 'failed');
    const own = failed.filter(({ id }) => ports.has(noted.portOf(id)));
    const others = failed.filter(({ id }) => !ports.has(noted.portOf(id)));
    const { total } = report;
    say(
      `answered ${total.answered}, duplicated ${total.duplicated}, reasons ${JSON.stringify(total.reasons)}`,
    );
    say(`generations that died on purpose with connections: ${dead.length} (${ports.size} connections)`);
    say(`failed in them: ${own.length}; failed elsewhere: ${others.length}; idle closed: ${total.lost}`);
    for (const one of others.slice(0, 20)) {
      const port = noted.portOf(one.id);
      const holders = dead.filter(({ elsewhere }) => elsewhere.includes(port)).map(({ kind }) => kind);
      say(`  ${JSON.stringify({ ...one, port, heldByAnotherWhenDied: holders })}`);
    }
    for (const one of wrong) say(`unexpected: ${one}`);
    const refused = ['refused', 'connect-failed', 'connect-timeout'].reduce(
      (n, r) => n + (total.reasons[r] ?? 0),
      0,
    );
    say(`refused: ${refused}`);
    const end = await bench.stop();
    if (end.left.length > 0) say(`left behind: ${end.left.length} processes`);
    return (
      refused === 0 &&
      others.length === 0 &&
      total.duplicated === 0 &&
      total.lost <= ports.size &&
      wrong.length === 0 &&
      end.left.length === 0
    );
  } finally {
    await up.tearDown();
  }
}

async function soakLong() {
  const restarts = Number(values.restarts ?? 500);
  if (!(restarts >= 2 * WARM_UP)) {
    const why = `the first ${WARM_UP} are warm-up, and tell nothing of growth`;
    process.stderr.write(`expected --restarts of ${2 * WARM_UP} at least, received ${restarts}: ${why}\n`);
    return false;
  }
  const up = await setUp(['--probation', '500ms', '--drain-timeout', '20s', '--ready-timeout', '30s']);
  const { bench, load, memory } = up;
  const series = [];
  try {
    const began = load.nowMs();
    for (let n = 1; n <= restarts; n += 1) {
      await ask(bench.runFolder, {
        type: 'restart',
        wait: true,
        ifBusy: 'wait',
        allowFewerListeners: false,
        untilConfirmed: false,
        whenQuiet: null,
      });
      if (n % Math.max(1, Math.floor(restarts / 25)) !== 0) continue;
      const point = { n, ...(await measure(bench.supervisor.pid, memory)), processes: bench.living().length };
      series.push(point);
      const { total } = load.snapshot();
      say(
        `${String(n).padStart(4)} supervisor ${(point.keptKb / 1024).toFixed(2)} MB kept, ${(point.rssKb / 1024).toFixed(1)} MB resident, ${point.fds} descriptors, ${point.threads} threads; ` +
          `${point.processes} processes; answered ${total.answered}, failed ${total.failed}, closed ${total.lost}`,
      );
    }
    const seconds = (load.nowMs() - began) / 1000;
    await bench.alone();
    const last = { ...(await measure(bench.supervisor.pid, memory)), processes: bench.living().length };
    const { total, failures } = await load.stop();
    for (const one of failures.slice(0, 20)) say(`  ${JSON.stringify(one)}`);
    const settled = series.filter(({ n }) => n >= WARM_UP);
    const slopes = Object.fromEntries(
      ['keptKb', 'rssKb', 'fds', 'threads'].map((key) => [key, slope(settled, key)]),
    );
    say(`${restarts} restarts in ${seconds.toFixed(0)} s; slopes per restart: ${JSON.stringify(slopes)}`);
    say(
      `at rest: ${JSON.stringify(last)}; ${total.answered} answered, ${total.failed} failed, ${total.lost} closed, ${total.duplicated} duplicated`,
    );
    const grows = slopes.keptKb > 5 || last.processes !== 2 || slopes.fds > 0.05 || slopes.threads > 0.01;
    if (grows) say('it grows');
    return !grows && total.failed + total.lost + total.duplicated === 0;
  } finally {
    await up.tearDown();
  }
}

async function soakKilled() {
  const up = await setUp(['--probation', '1s', '--drain-timeout', '10s']);
  const { bench, load } = up;
  try {
    const first = await bench.alone();
    for (let n = 1; n <= Number(values.kills); n += 1) {
      process.kill(bench.supervisor.pid, 'SIGKILL');
      await bench.supervisor.ended;
      // Sometimes it is away for longer.
      await pause(n % 4 === 0 ? 1500 : 0);
      await bench.run();
      const now = await bench.alone();
      const { total } = load.snapshot();
      say(
        `kill ${n}: process ${now.pid} serves, answered ${total.answered}, failed ${total.failed}, closed ${total.lost}`,
      );
      if (now.pid !== first.pid) say('  another process than before');
    }
    const restart = await bench.moult('restart', bench.name, '--json');
    say(`a restart afterwards: exit ${restart.code}`);
    const { total } = await load.stop();
    say(
      `${total.answered} answered, ${total.failed} failed, ${total.lost} closed, ${total.duplicated} duplicated`,
    );
    await bench.alone();
    const end = await bench.stop();
    say(`moult run ended with ${end.code}, ${end.left.length} processes left`);
    return restart.code === 0 && total.failed + total.lost + total.duplicated === 0 && end.left.length === 0;
  } finally {
    await up.tearDown();
  }
}

// What V8 has not collected yet is no growth, and comes and goes by megabytes: what counts is what is left after.
async function measure(pid, memory) {
  rmSync(memory, { force: true });
  process.kill(pid, 'SIGPWR');
  await until('the garbage is collected', () => existsSync(memory));
  const { rss, heapUsed, external } = JSON.parse(readFileSync(memory, 'utf8'));
  const threads = Number(/^Threads:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const keptKb = Math.round((heapUsed + external) / 1024);
  return { keptKb, rssKb: Math.round(rss / 1024), threads, fds: readdirSync(`/proc/${pid}/fd`).length };
}

/** By how much it grows per restart: least squares. */
function slope(series, key) {
  const mean = (of) => series.reduce((sum, point) => sum + of(point), 0) / series.length;
  const n = mean((point) => point.n);
  const y = mean((point) => point[key]);
  const over = series.reduce((sum, point) => sum + (point.n - n) * (point[key] - y), 0);
  const under = series.reduce((sum, point) => sum + (point.n - n) ** 2, 0);
  return under === 0 ? 0 : Math.round((over / under) * 1000) / 1000;
}
