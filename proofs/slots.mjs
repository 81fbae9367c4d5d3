// `node proofs/slots.mjs`: the proof of slots, in three parts, on this Node and against test/fixtures/services.
//
//   distribution  100 kept-alive connections to four slots: how many each slot has, and after how long they are even
//   rolls         20 rolls of four slots under the strict mixed load, each third with a broken release: nothing fails,
//                 nothing is lost; requests a second while a roll is under way, next to those in between
//   scale         1, 8, 2 slots under the same load
//
//   node proofs/slots.mjs --part rolls --rolls 6 --slots 4 --surge 2
//
// Prints what was measured; exit status 1 if anything failed, was lost or came twice.
import { mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  fixtures as allFixtures,
  build,
  counted,
  counts,
  problemsOf,
  say,
  strictLoad,
  verdict,
} from './harness.mjs';
import { expectOneOf, numberOf } from './nodes.mjs';

const PARTS = ['distribution', 'rolls', 'scale'];
/** The broken releases, by turns: one fails in the first slot, one answers its check wrongly, one crashes in its probation. */
const BROKEN = ['throws.mjs', 'exits.mjs', 'other-port.mjs'];
const BUCKET_MS = 100;

const fixtures = path.join(allFixtures, 'services');
const { values } = parseArgs({
  options: {
    part: { type: 'string', multiple: true, default: PARTS },
    rolls: { type: 'string', default: '20' },
    slots: { type: 'string', default: '4' },
    'think-ms': { type: 'string', default: '50' },
    built: { type: 'boolean', default: false },
  },
});

expectOneOf('--part', values.part, PARTS);
const slots = numberOf('--slots', values.slots);
const thinkMs = numberOf('--think-ms', values['think-ms']);
if (!values.built) build();
const { verify } = await import('../dist/verify/verify.js');
const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
const { startLoad } = await import('../dist/verify/load.js');

const problems = [];
for (const part of values.part) {
  if (part === 'distribution') await distribution();
  else if (part === 'rolls') await rolls();
  else await scale();
}
verdict(problems);

async function distribution() {
  const service = await start(path.join(fixtures, 'http.cjs'), slots);
  const clients = [];
  try {
    const beganMs = performance.now();
    for (let n = 0; n < 100; n += 1) clients.push(await client(service.target));
    say(`distribution: 100 connections were made in ${Math.round(performance.now() - beganMs)} ms`);
    const madeMs = performance.now();
    say(`  at first:    ${described(bySlotOf(clients))}`);
    let bySlot = await service.connectionsBySlot();
    while (ratio(bySlot) > 1.3 && performance.now() - madeMs < 10_000) {
      await pause(100);
      bySlot = await service.connectionsBySlot();
    }
    say(`  after ${Math.round(performance.now() - madeMs)} ms: ${described(bySlot)}`);
    if (ratio(bySlot) > 1.3) problems.push(`100 connections lie as ${bySlot.join(' ')}`);
    const answers = await Promise.all(clients.map((one) => one.end()));
    const asked = answers.reduce((sum, one) => sum + one.answered, 0);
    const failed = answers.filter((one) => one.failed).length;
    say(`  asked all the while: ${asked} answers, ${failed} connections failed`);
    if (failed > 0) problems.push(`${failed} connections failed while they were evened out`);
  } finally {
    for (const one of clients) one.close();
    await service.stop();
  }
}

async function rolls() {
  const count = numberOf('--rolls', values.rolls);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'moult-proof-'));
  const link = path.join(folder, 'current.mjs');
  const good = path.join(fixtures, 'http.cjs');
  const deploy = async (target) => {
    await symlink(target, `${link}.next`);
    await rename(`${link}.next`, link);
  };
  const isBroken = (roll) => roll % 3 === 0;
  let result;
  try {
    await deploy(good);
    const service = await start(link, slots, ['--probation', '3s', '--ready-timeout', '10s']);
    try {
      let roll = 0;
      result = await verify({
        service: {
          ...service,
          restart: async () => {
            roll += 1;
            const broken = path.join(fixtures, 'broken', BROKEN[(roll / 3 - 1) % BROKEN.length] ?? '');
            await deploy(isBroken(roll) ? broken : good);
            return service.restart();
          },
        },
        load: strictLoad(thinkMs),
        restarts: count,
        expectBroken: isBroken,
        warmUpMs: 6_000,
        steadyMs: 2_000,
      });
    } finally {
      await service.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const { restarts, connectionsBySlot = [] } = result;
  const refused = restarts.filter(({ outcome }) => !outcome.ok).length;
  say(`rolls: ${restarts.length} of ${slots} slots, ${refused} of them refused; ${counted(result.load)}`);
  for (const { restart, outcome, expectedToFail } of restarts) {
    if (outcome.ok === expectedToFail)
      problems.push(`roll ${restart}: ${JSON.stringify(outcome.error ?? 'succeeded, though broken')}`);
  }
  problems.push(...problemsOf('rolls', result.load));
  rates(result.load, restarts);
  const ratios = connectionsBySlot.map(ratio).sort((a, b) => a - b);
  say(
    `  connections by slot, highest/lowest, ${ratios.length} looks: median ${figure(ratios.at(ratios.length >> 1))}, most ${figure(ratios.at(-1))}`,
  );
  for (const bySlot of connectionsBySlot.slice(-3)) say(`    ${described(bySlot)}`);
}

async function scale() {
  const service = await start(path.join(fixtures, 'http.cjs'), 1);
  const running = startLoad({ ...strictLoad(thinkMs), target: service.target });
  let report;
  try {
    await pause(3_000);
    for (const to of [8, 2]) {
      const beganMs = running.nowMs();
      const { ok, said } = await service.scale(to);
      running.markWindow(beganMs, running.nowMs());
      say(`scale: to ${to} in ${Math.round(running.nowMs() - beganMs)} ms: ${said}`);
      if (!ok) problems.push(`scale to ${to}: ${said}`);
      await pause(4_000);
      say(`  4 s later:   ${described(await service.connectionsBySlot())}`);
    }
  } finally {
    report = await running.stop();
    await service.stop();
  }
  say(`  ${counted(report)}`);
  problems.push(...problemsOf('scale', report));
}

function start(script, count, more = []) {
  return startUnderMoult({
    command: [script],
    runOptions: ['--slots', String(count), ...more],
    env: { PORT: '0' },
  });
}

/** A connection that asks again and again; anything but an answer is a failure. */
async function client({ host, port }) {
  const socket = net.connect(port, host);
  const told = { answered: 0, failed: false };
  let isOver = false;
  const fail = () => {
    told.failed ||= !isOver;
  };
  socket.on('error', fail).on('close', fail);
  const ask = () =>
    new Promise((resolve) => {
      socket.once('data', (text) => {
        if (String(text).startsWith('HTTP/1.1 200 ')) told.answered += 1;
        else fail();
        resolve(/"generation":"(\d+)"/.exec(String(text))?.[1]);
      });
      socket.once('close', resolve);
      socket.write('GET / HTTP/1.1\r\nhost: proof\r\n\r\n');
    });
  const answeredBy = await ask();
  const asking = (async () => {
    while (!isOver && !told.failed) {
      await pause(500 + Math.random() * 500);
      if (!isOver && !told.failed) await ask();
    }
    return told;
  })();
  const end = () => {
    isOver = true;
    return asking;
  };
  return { answeredBy, end, close: () => socket.destroy() };
}

/** Requests a second while a roll is under way, and in between. */
function rates({ timeline }, restarts) {
  const during = new Set();
  for (const { beginMs, endMs } of restarts)
    for (let at = Math.floor(beginMs / BUCKET_MS); at <= endMs / BUCKET_MS; at += 1) during.add(at);
  const mean = (buckets) =>
    (buckets.reduce((sum, { answered }) => sum + answered, 0) / buckets.length) * (1000 / BUCKET_MS);
  const first = Math.floor(restarts[0].beginMs / BUCKET_MS) - 20;
  const last = Math.floor(restarts.at(-1).endMs / BUCKET_MS);
  const within = timeline
    .map((bucket, at) => ({ ...bucket, at }))
    .filter(({ at }) => at >= first && at <= last);
  const steady = mean(within.filter(({ at }) => !during.has(at)));
  const rolling = mean(within.filter(({ at }) => during.has(at)));
  const each = restarts.map(({ beginMs, endMs }) =>
    mean(timeline.slice(Math.floor(beginMs / BUCKET_MS), Math.ceil(endMs / BUCKET_MS))),
  );
  say(
    `  requests a second: ${Math.round(steady)} in between, ${Math.round(rolling)} in rolls (${figure(rolling / steady)}), ` +
      `${Math.round(Math.min(...each))} in the slowest roll (${figure(Math.min(...each) / steady)})`,
  );
}

/** How many were answered by each, of as many as there are slots. */
function bySlotOf(clients) {
  const all = counts(clients.map(({ answeredBy }) => answeredBy));
  return [...all, ...Array(Math.max(0, slots - all.length)).fill(0)];
}

function described(bySlot) {
  return `${bySlot.join(' ')} (highest/lowest ${figure(ratio(bySlot))})`;
}

function ratio(bySlot) {
  return Math.max(...bySlot) / Math.min(...bySlot);
}

function figure(value) {
  return value === undefined ? '?' : value.toFixed(2);
}
