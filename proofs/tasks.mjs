// `node proofs/tasks.mjs`: the slow proof for tasks, schedules and jobs, with real processes under `moult run`:
//
//   cron   a task each second over 60 s with 20 restarts: 60 runs, each of the right second, each once
//   jobs   a job of 5 s over restarts each second: begun once, done once; and the same by checkpoint, its generation gone at once
//   moves  one, ten and a hundred jobs that move, over restarts: how long each stands still when it changes hands
//   kills  a task that writes to Redis all the time, while either side of a handover is killed at each of its steps:
//          one owner at any time, fenced by its epoch, and an owner again soon
//
//   node proofs/tasks.mjs cron jobs kills --rounds 40
//   node proofs/tasks.mjs cron jobs moves --undone     a third of the restarts is undone
//
// Exit status 1 if something was missed, doubled, or had two owners.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Where a side of the handover is killed: on a line of the task, or so many milliseconds after the restart was asked for. */
const MOMENTS = [
  ['the task is told to end', /^ending (\d+) (\d+)/, 'predecessor'],
  ['the task is told to end', /^ending (\d+) (\d+)/, 'successor'],
  ['the task begins', /^begins (\d+) (\d+)/, 'successor'],
  ['the task begins', /^begins (\d+) (\d+)/, 'predecessor'],
  ['any time', undefined, 'predecessor'],
  ['any time', undefined, 'successor'],
  ['the task is told to end', /^ending (\d+) (\d+)/, 'both'],
  ['the task begins', /^begins (\d+) (\d+)/, 'both'],
];
/**
 * How long nobody may have a task: where one side is left, as long as it may take to notice that the other is gone; where
 * both were killed, the start of the service. It waits for longer where it crashes again within SOUND_MS.
 */
const LIMITS_MS = { predecessor: 2000, successor: 2000, both: 5000 };
const SOUND_MS = 10_000;

const PARTS = { cron: proveCron, jobs: proveJobs, moves: proveMoves, kills: proveKills };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '40' },
    seconds: { type: 'string', default: '60' },
    undone: { type: 'boolean', default: false },
  },
});

const unknown = positionals.find((name) => !Object.hasOwn(PARTS, name));
if (unknown !== undefined)
  throw new TypeError(`expected ${Object.keys(PARTS).join(', ')}, received ${unknown}`);
for (const [name, prove] of Object.entries(PARTS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const problems = await prove();
  for (const problem of problems.slice(0, 20)) console.log(`    ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
}

/** A service under moult, with the lines that it writes as they come. */
async function start(fixture, probation, env = {}) {
  const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
  const lines = [];
  const hearers = new Set();
  let rest = '';
  const service = await startUnderMoult({
    command: [path.join(root, `test/fixtures/services/${fixture}.mjs`)],
    runOptions: ['--probation', values.undone ? '30s' : probation],
    env,
    onOutput: (text) => {
      const all = (rest + text).split('\n');
      rest = all.pop() ?? '';
      lines.push(...all);
      for (const line of all) for (const hear of [...hearers]) hear(line);
    },
  });
  /** Waits for the next line of this shape. */
  const next = (pattern, ms) =>
    new Promise((resolve) => {
      const late = setTimeout(() => resolve(undefined), ms);
      const hear = (line) => {
        const found = pattern.exec(line);
        if (found === null) return;
        clearTimeout(late);
        hearers.delete(hear);
        resolve(found);
      };
      hearers.add(hear);
    });
  const told = (what) =>
    lines
      .filter((line) => line.startsWith('{"what"'))
      .map((line) => JSON.parse(line))
      .filter((one) => one.what === what);
  const ask = (to) =>
    fetch(`http://127.0.0.1:${service.target.port}${to}`, { headers: { connection: 'close' } });
  let restarts = 0;
  /** A restart; with --undone each third one is undone half a second later. */
  const restart = async () => {
    restarts += 1;
    const outcome = await service.restart();
    if (!outcome.ok || !values.undone || restarts % 3 !== 0) return outcome;
    await pause(500);
    return service.rollback();
  };
  return { ...service, restart, lines, next, told, ask };
}

async function proveCron() {
  const seconds = Number(values.seconds);
  const restarts = Math.round(seconds / 3);
  const problems = [];
  const service = await start('every-second', '1s');
  try {
    while (service.told('tick').length === 0) await pause(10);
    const [first] = service.told('tick');
    for (let i = 0; i < restarts; i += 1) {
      await pause(Math.max(0, first.due + (i + 1) * 3000 * Math.random() - Date.now()));
      const outcome = await service.restart();
      if (!outcome.ok) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
      await pause(Math.max(0, first.due + (i + 1) * 3000 - 1500 - Date.now()));
    }
    await pause(Math.max(0, first.due + seconds * 1000 + 500 - Date.now()));
    const ticks = service.told('tick').filter(({ due }) => due < first.due + seconds * 1000);
    const wanted = Array.from({ length: seconds }, (_, i) => first.due + i * 1000);
    const found = ticks.map(({ due }) => due).sort();
    for (const due of wanted) {
      const times = found.filter((one) => one === due).length;
      if (times !== 1) problems.push(`the second ${new Date(due).toISOString()} was run ${times} times`);
    }
    const latest = Math.max(...ticks.map(({ due, at }) => at - due));
    const generations = new Set(ticks.map(({ generation }) => generation)).size;
    console.log(
      `cron: ${restarts} restarts, ${ticks.length} runs in ${seconds} s by ${generations} generations, at most ${latest} ms late: ${verdict(problems)}`,
    );
  } finally {
    await service.stop();
  }
  return problems;
}

async function proveJobs() {
  const problems = [];
  const service = await start('every-second', '200ms');
  try {
    for (const kind of ['stays', 'moves']) {
      await service.ask(`/${kind}`);
      for (let i = 0; i < 5; i += 1) {
        await pause(1000);
        const outcome = await service.restart();
        if (!outcome.ok) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
      }
      for (let waited = 0; service.told(`${kind} done`).length === 0 && waited < 20_000; waited += 50)
        await pause(50);
      await pause(1000);
      const done = service.told(`${kind} done`).length;
      if (done !== 1) problems.push(`${kind}: done ${done} times`);
    }
    const begun = service.told('stays begun').length;
    if (begun !== 1) problems.push(`stays: begun ${begun} times`);
    const steps = service.told('step').map(({ done }) => done);
    const wanted = Array.from({ length: 100 }, (_, i) => i * 50);
    if (JSON.stringify(steps) !== JSON.stringify(wanted)) problems.push(`moves: steps ${steps.join(' ')}`);
    if (problems.length > 0) console.log(service.lines.filter((line) => !line.includes('step')).join('\n'));
    const yields = new Map(service.told('yields').map(({ generation, at }) => [generation, at]));
    const movers = new Set(service.told('step').map(({ generation }) => generation));
    const left = service
      .told('ends')
      .filter(({ generation }) => movers.has(generation) && yields.has(generation));
    const longest = Math.max(...left.map(({ generation, at }) => at - yields.get(generation)));
    if (movers.size < 2) problems.push(`moves: it was in ${movers.size} generations only`);
    console.log(
      `jobs: stays was begun ${begun} times and done once; moves went through ${movers.size} generations, each gone ${longest} ms after it had handed over: ${verdict(problems)}`,
    );
  } finally {
    await service.stop();
  }
  return problems;
}

async function proveMoves() {
  const problems = [];
  // All move in the same moment: what one job takes is seen where it is alone.
  for (const jobs of [1, 10, 100]) problems.push(...(await proveMovesOf(jobs)));
  return problems;
}

async function proveMovesOf(jobs) {
  const [parts, everyMs, restarts] = [600, 20, 4];
  const problems = [];
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-moves-'));
  const LOG = path.join(folder, 'log');
  const service = await start('owns', '1s', { PORT: '0', LOG, GATE: path.join(folder, 'gate') });
  try {
    for (let i = 0; i < jobs; i += 1)
      await service.ask(`/job?kind=move&name=${i}&parts=${parts}&everyMs=${everyMs}`);
    let slowestMs = 0;
    for (let i = 0; i < restarts; i += 1) {
      await pause(2000);
      const beganMs = performance.now();
      const outcome = await service.restart();
      if (outcome.ok === false) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
      slowestMs = Math.max(slowestMs, performance.now() - beganMs);
    }
    const told = (what) =>
      readFileSync(LOG, 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line))
        .filter((one) => one.what === what);
    for (let waited = 0; told('done').length < jobs && waited < 60_000; waited += 500) await pause(500);
    if (told('done').length !== jobs) problems.push(`${told('done').length} of ${jobs} jobs were done`);
    const did = grouped(told('part'));
    const began = grouped(told('from'));
    const within = [];
    const across = [];
    /** How long after the last part in one generation it began in the next. */
    const onTheWay = [];
    for (const [job, lines] of did) {
      if (lines.some(({ part }, i) => part !== i) || lines.length !== parts)
        problems.push(`a job did ${lines.map(({ part }) => part).join(' ')}`);
      lines.slice(1).forEach(({ generation, at }, i) => {
        const side = generation === lines[i].generation ? within : across;
        side.push(at - lines[i].at - everyMs);
        if (side === within) return;
        const next = began.get(job).findLast((one) => one.generation === generation && one.at <= at);
        onTheWay.push(next.at - lines[i].at);
      });
    }
    const [longest, control] = [across, within].map((all) => Math.max(...all));
    const over = across.filter((ms) => ms > 100).length;
    const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
    if (longest > slowestMs + 100)
      problems.push(
        `one stood still for ${longest} ms, 100 beside the ${slowestMs.toFixed(0)} of the restart are the goal`,
      );
    console.log(
      `moves: ${jobs} jobs changed hands ${across.length} times and stood still for ${longest} ms at most, ${over} times for over 100 ms, ` +
        `${median(across)} ms in the median, ${median(onTheWay)} of them until the next generation began it; ` +
        `without a move ${control} ms at most, ${median(within)} in the median; the slowest restart took ${slowestMs.toFixed(0)} ms: ${verdict(problems)}`,
    );
  } finally {
    await service.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return problems;
}

function grouped(lines) {
  const groups = new Map();
  for (const one of lines) groups.set(one.job, [...(groups.get(one.job) ?? []), one]);
  return groups;
}

async function proveKills() {
  const problems = [];
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-redis-'));
  const socket = path.join(folder, 'redis.sock');
  const server = spawn(
    'redis-server',
    ['--port', '0', '--unixsocket', socket, '--save', '', '--dir', folder],
    {
      stdio: 'ignore',
    },
  );
  const { Redis } = await import('ioredis');
  const redis = new Redis({ path: socket, retryStrategy: () => 50 });
  redis.on('error', () => {});
  await redis.ping();
  const service = await start('fenced', '2s', { REDIS: socket });
  const killed = { predecessor: 0, successor: 0, both: 0 };
  const longest = { predecessor: 0, successor: 0, both: 0 };
  /** The longest time between two writes from a write on, in milliseconds. */
  const gapFrom = async (index) => {
    const times = (await redis.lrange('writes', index, -1)).map((line) => Number(line.split(' ')[2]) / 1000);
    return times.reduce((most, at, i) => Math.max(most, i === 0 ? 0 : at - times[i - 1]), 0);
  };
  try {
    for (let round = 0; round < Number(values.rounds); round += 1) {
      const [, pattern, side] = MOMENTS[round % MOMENTS.length];
      await owned(redis, problems, round);
      // Who wrote last has the task.
      const [, predecessor] = (await redis.get('owner')).split(' ');
      const from = (await redis.llen('writes')) - 1;
      const up = service.next(/^up (\d+) (\d+)/, 15_000);
      const moment = pattern && service.next(pattern, 15_000);
      const restarting = service.restart();
      const [, , successor] = (await up) ?? [];
      if (moment === undefined) await pause(Math.random() * 300);
      else await moment;
      await pause(Math.random() * 25);
      const victims = { predecessor: [predecessor], successor: [successor], both: [predecessor, successor] }[
        side
      ];
      for (const victim of victims) kill(Number(victim));
      killed[side] += 1;
      await restarting;
      await owned(redis, problems, round);
      if (side === 'both') await pause(SOUND_MS);
      const gapMs = await gapFrom(from);
      longest[side] = Math.max(longest[side], gapMs);
      if (gapMs > LIMITS_MS[side])
        problems.push(`round ${round}: nobody had the task for ${gapMs} ms (${side})`);
    }
    const writes = (await redis.lrange('writes', 0, -1)).map((line) => line.split(' ').map(Number));
    const refused = Number((await redis.get('refused')) ?? 0);
    const ownerOf = new Map();
    for (const [i, [epoch, generation]] of writes.entries()) {
      const before = writes[i - 1];
      if (ownerOf.has(epoch) && ownerOf.get(epoch) !== generation)
        problems.push(`epoch ${epoch} had two owners`);
      ownerOf.set(epoch, generation);
      if (before === undefined) continue;
      if (epoch < before[0]) problems.push(`epoch ${epoch} wrote after ${before[0]}`);
    }
    // What one that was killed had sent may arrive after its successor's first write: that is what epochs are for.
    if (refused > killed.predecessor + killed.successor + killed.both)
      problems.push(`${refused} late writes were refused: an owner went on`);
    console.log(
      `kills: ${values.rounds} handovers, ${writes.length} writes by ${ownerOf.size} owners, ${refused} late ones refused: ${verdict(problems)}`,
    );
    for (const side of Object.keys(killed))
      console.log(
        `    ${killed[side]} times ${side === 'both' ? 'both sides' : `the ${side}`} killed: nobody had the task for ${longest[side].toFixed(0)} ms at most; ${LIMITS_MS[side]} are allowed`,
      );
  } finally {
    await service.stop();
    redis.disconnect();
    server.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  }
  return problems;
}

/** Waits until somebody writes. */
async function owned(redis, problems, round) {
  const before = await redis.llen('writes');
  for (let waited = 0; waited < 20_000; waited += 20) {
    if ((await redis.llen('writes')) > before + 5) return;
    await pause(20);
  }
  problems.push(`round ${round}: nobody has the task`);
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function verdict(problems) {
  return problems.length === 0 ? 'as promised' : 'FAILED';
}
