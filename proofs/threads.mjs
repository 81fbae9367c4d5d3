// `node proofs/threads.mjs`: the proof of worker threads, in two parts, on this Node and against
// test/fixtures/services/threads.mjs.
//
//   restarts  20 restarts of a service that listens in four threads, under the strict mixed load: nothing fails, nothing
//             is lost; how 100 kept-alive connections lie over the threads after each
//   hang      a thread that hangs for longer than the restart may take: the others are handed over, nothing else fails,
//             and the request that waits for that thread is answered when it goes on
//
//   node proofs/threads.mjs --part restarts --restarts 6 --threads 8
//
// Prints what was measured; exit status 1 if anything failed, was lost or came twice.
import http from 'node:http';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build, counted, counts, fixtures, problemsOf, say, strictLoad, verdict } from './harness.mjs';
import { expectOneOf, numberOf } from './nodes.mjs';

const PARTS = ['restarts', 'hang'];
const HANG_MS = 20_000;

const { values } = parseArgs({
  options: {
    part: { type: 'string', multiple: true, default: PARTS },
    restarts: { type: 'string', default: '20' },
    threads: { type: 'string', default: '4' },
    'think-ms': { type: 'string', default: '50' },
    built: { type: 'boolean', default: false },
  },
});

expectOneOf('--part', values.part, PARTS);
const threads = numberOf('--threads', values.threads);
const thinkMs = numberOf('--think-ms', values['think-ms']);
if (!values.built) build();
const { verify } = await import('../dist/verify/verify.js');
const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
const { startLoad } = await import('../dist/verify/load.js');

const problems = [];
for (const part of values.part) {
  if (part === 'restarts') await restarts();
  else await hang();
}
verdict(problems);

async function restarts() {
  const service = await start();
  const kept = await keepAlive(service.target, 100);
  const lies = [];
  let result;
  try {
    result = await verify({
      service: {
        ...service,
        restart: async () => {
          const outcome = await service.restart();
          lies.push(counts(await kept.threads()));
          return outcome;
        },
      },
      load: strictLoad(thinkMs),
      restarts: numberOf('--restarts', values.restarts),
      warmUpMs: 3_000,
      steadyMs: 500,
    });
  } finally {
    await kept.end();
    await service.stop();
  }
  const failed = result.restarts.filter(({ outcome }) => !outcome.ok);
  const tookMs = result.restarts.map(({ beginMs, endMs }) => endMs - beginMs).sort((a, b) => a - b);
  say(
    `restarts: ${result.restarts.length} of a service in ${threads} threads, ${failed.length} failed; ${counted(result.load)}`,
  );
  say(
    `  took ${Math.round(tookMs.at(tookMs.length >> 1))} ms in the median, ${Math.round(tookMs.at(-1))} ms at most`,
  );
  say(`  100 kept-alive connections over the threads of the successor, the last five looks:`);
  for (const one of lies.slice(-5)) say(`    ${one.join(' ')}`);
  say(`  they asked ${kept.asked} times; ${kept.closed} were closed, ${kept.failures.length} failed`);
  for (const { restart, outcome } of failed)
    problems.push(`restart ${restart}: ${JSON.stringify(outcome.error)}`);
  if (kept.closed > 0) problems.push(`${kept.closed} kept-alive connections were closed`);
  if (kept.failures.length > 0) problems.push(`kept-alive connections failed: ${kept.failures.slice(0, 5)}`);
  if (lies.some((one) => one.length < threads)) problems.push('a thread of a successor had no connection');
  problems.push(...problemsOf('restarts', result.load));
}

async function hang() {
  const service = await start();
  const { host, port } = service.target;
  const beganMs = performance.now();
  const hanging = ask({ host, port, agent: false, path: `/hang/${HANG_MS}` }).then(
    ({ generation }) => ({ generation, afterMs: performance.now() - beganMs }),
    (error) => ({ error }),
  );
  await pause(500);
  // Only what connects from now on: who is with the thread that hangs waits for it, with or without a restart.
  const running = startLoad({ ...strictLoad(thinkMs), target: service.target });
  let report;
  try {
    await pause(1_000);
    const restartMs = performance.now();
    const outcome = await service.restart();
    const tookMs = performance.now() - restartMs;
    say(`hang: a thread stood still for ${HANG_MS} ms; the restart took ${Math.round(tookMs)} ms meanwhile`);
    if (!outcome.ok) problems.push(`hang: ${JSON.stringify(outcome.error)}`);
    if (performance.now() - beganMs > HANG_MS) problems.push('hang: the restart waited for the thread');
    const answered = await hanging;
    if (answered.error !== undefined) problems.push(`hang: its request failed: ${answered.error}`);
    else say(`  its request was answered after ${Math.round(answered.afterMs)} ms`);
    await pause(500);
  } finally {
    report = await running.stop();
    await service.stop();
  }
  say(`  ${counted(report)}`);
  problems.push(...problemsOf('hang', report));
}

/** So many connections, each of which asks once a second; every answer must come on the connection that was there. */
async function keepAlive({ host, port }, count) {
  const told = { asked: 0, closed: 0, failures: [] };
  let isOver = false;
  const agents = Array.from({ length: count }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  const ports = new Map();
  const once = async (agent) => {
    try {
      const { thread, ownPort } = await ask({ host, port, agent });
      told.asked += 1;
      if (ports.has(agent) && ports.get(agent) !== ownPort) told.closed += 1;
      ports.set(agent, ownPort);
      return thread;
    } catch (error) {
      told.failures.push(String(error));
    }
  };
  await Promise.all(agents.map((agent) => once(agent)));
  const loops = agents.map(async (agent, n) => {
    await pause((1000 * n) / count);
    while (!isOver) {
      await once(agent);
      await pause(1000);
    }
  });
  const end = async () => {
    isOver = true;
    await Promise.all(loops);
    for (const agent of agents) agent.destroy();
  };
  return Object.assign(told, { end, threads: () => Promise.all(agents.map((agent) => once(agent))) });
}

async function start() {
  const service = await startUnderMoult({
    command: [path.join(fixtures, 'services/threads.mjs')],
    env: { PORT: '0', THREADS: String(threads) },
  });
  const { host, port } = service.target;
  const seen = new Set();
  while (seen.size < threads) seen.add((await ask({ host, port, agent: false })).thread);
  return service;
}

function ask(options) {
  return new Promise((resolve, reject) => {
    const request = http.get({ path: '/', ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () => {
        const thread = response.headers['x-thread'];
        resolve({ thread, generation: JSON.parse(body).generation, ownPort: request.socket.localPort });
      });
    });
    request.on('error', reject);
  });
}
