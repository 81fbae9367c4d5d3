// How fast idle connections move, beside a bare loop that passes as many descriptors with the same system calls
// and nothing else; and how long the move keeps either event loop from its other work.
import { rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cells, figure, ms, percent, whole } from './measure/figures.mjs';
import { descriptorLimit, startHelper, temporaryFolder } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const SIZES = [100, 1000, 10_000];
const REPEATS = 7;
/** Descriptors that a service needs besides its connections. */
export const RESERVE = 200;
/** Long enough for both loops to be asked after the move. */
const PROBATION_MS = 6000;
export const SETTLE_MS = 400;
/** How long the loop of a service at rest is watched, for comparison. */
const REST_MS = 1000;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const limit = descriptorLimit();
  const sizes = SIZES.filter((size) => size + RESERVE <= limit);
  const repeats = isQuick ? 2 : REPEATS;
  /** @type {Record<string, any>} */
  const json = { descriptorLimit: limit, skipped: SIZES.filter((size) => !sizes.includes(size)), sizes: {} };
  const texts = [];
  for (const size of sizes) {
    say(`${whole(size)} connections, ${repeats} moves`);
    const found = await measureSize(size, repeats);
    const one = Object.fromEntries(Object.entries(found).map(([name, values]) => [name, figure(values)]));
    json.sizes[size] = one;
    texts.push(
      table(
        [`${whole(size)} idle connections, ${repeats} moves`, 'median', 'quartiles', 'extremes'],
        [
          ['share of the bare loop', ...cells(one.share, percent)],
          ['  moved a second, this machine', ...cells(one.rate, whole)],
          ['  bare loop a second, this machine', ...cells(one.bareRate, whole)],
          ['  commit to last adoption, this machine: ms', ...cells(one.moveMs, ms)],
          ['  connections stage, this machine: ms', ...cells(one.stageMs, ms)],
          ['  bare loop, this machine: ms', ...cells(one.bareMs, ms)],
          ['pause of a connection, p50: ms', ...cells(one.pauseP50Ms, ms)],
          ['  p99: ms', ...cells(one.pauseP99Ms, ms)],
          ['  longest: ms', ...cells(one.longestPauseMs, ms)],
          ['longest blockage, predecessor: ms', ...cells(one.blockedPredecessorMs, ms)],
          ['  successor (from its listen() on): ms', ...cells(one.blockedSuccessorMs, ms)],
          ['  at rest, for comparison: ms', ...cells(one.blockedAtRestMs, ms)],
        ],
      ),
    );
  }
  if (json.skipped.length > 0) {
    texts.push(`left out, the limit is ${limit} descriptors: ${json.skipped.map(whole).join(', ')}`);
  }
  return { json, text: texts.join('\n') };
}

/** @param {number} size @param {number} repeats @returns {Promise<Record<string, number[]>>} */
async function measureSize(size, repeats) {
  const control = temporaryFolder('moult-bench-control-');
  const moult = await startUnderMoult({ BENCH_CONTROL: control, KEEP_ALIVE_MS: '600000' }, [
    '--probation',
    `${PROBATION_MS}ms`,
  ]);
  const clients = startHelper('idle-clients.mjs');
  /** @type {Record<string, number[]>} */
  const found = {};
  const note = (/** @type {Record<string, number>} */ figures) => {
    for (const [name, value] of Object.entries(figures)) {
      found[name] ??= [];
      found[name].push(value);
    }
  };
  try {
    await clients.ask({ type: 'open', port: moult.port, count: size });
    for (let i = 0; i < repeats; i += 1) {
      await clients.ask({ type: 'request' });
      const predecessor = await moult.alone();
      await askLoop(control, predecessor, '/reset');
      await pause(REST_MS);
      const atRest = await askLoop(control, predecessor, '/reset');
      const summary = await moult.restart();
      // Adopting the last of them may still be under way when the restart reports.
      await pause(SETTLE_MS);
      const [ofPredecessor, ofSuccessor] = await Promise.all(
        [predecessor, summary.successorPid].map((pid) => askLoop(control, pid, '/')),
      );
      const state = await clients.ask({ type: 'request' });
      if (summary.moved !== size || state.open !== size || state.closed !== 0) {
        throw new Error(`of ${size} connections ${summary.moved} moved, ${state.closed} were closed`);
      }
      const stageMs = summary.stages.find((/** @type {any} */ one) => one.stage === 'connections').ms;
      // From commit until the successor has made its object for the last of them, and the predecessor is told.
      const adoptedMs = ofSuccessor.lastOpenedAt - summary.committedAt;
      const moveMs = Math.max(stageMs, adoptedMs);
      const bareMs = await bare(size);
      note({
        stageMs,
        adoptedMs,
        moveMs,
        bareMs,
        rate: size / (moveMs / 1000),
        bareRate: size / (bareMs / 1000),
        share: bareMs / moveMs,
        pauseP50Ms: summary.pauseP50Ms,
        pauseP99Ms: summary.pauseP99Ms,
        longestPauseMs: summary.longestPauseMs,
        blockedPredecessorMs: ofPredecessor.longestMs,
        blockedSuccessorMs: ofSuccessor.longestMs,
        blockedAtRestMs: atRest.longestMs,
      });
    }
    await clients.ask({ type: 'close' });
  } finally {
    await clients.stop();
    await moult.stop();
    rmSync(control, { recursive: true, force: true });
  }
  return found;
}

/** Passes as many descriptors from a fresh process to a fresh process. @param {number} size */
export async function bare(size) {
  const giver = startHelper('bare-giver.mjs');
  const clients = startHelper('idle-clients.mjs');
  try {
    const { port } = await giver.ask({ type: 'port' });
    await clients.ask({ type: 'open', port, count: size });
    await clients.ask({ type: 'request' });
    const { ms: took } = await giver.ask({ type: 'pass', count: size });
    await clients.ask({ type: 'close' });
    return took;
  } finally {
    await clients.stop();
    await giver.stop();
  }
}

/** What a generation tells of its event loop. @param {string} folder @param {number} pid @param {string} path */
export function askLoop(folder, pid, path) {
  return new Promise((resolve, reject) => {
    request({ socketPath: join(folder, `${pid}.sock`), path, agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve(JSON.parse(text));
    })
      .on('error', (error) => reject(new Error(`the loop of process ${pid}, ${path}`, { cause: error })))
      .end();
  });
}
