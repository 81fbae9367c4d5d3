// How fast idle WebSockets move, beside a bare loop that passes as many descriptors; how long those that are in use
// stand still; and what a moved one costs in memory beside one that was accepted.
import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { cells, figure, ms, percent, ratio, whole } from './measure/figures.mjs';
import { descriptorLimit, startHelper, temporaryFolder } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';
import { askLoop, bare, RESERVE, SETTLE_MS } from './move.mjs';

const CASES = [
  { size: 1000, active: 0 },
  { size: 10_000, active: 0 },
  { size: 10_000, active: 500 },
  { size: 50_000, active: 0 },
];
const REPEATS = 7;
/** Longer than a move takes: the predecessor is asked how it was for it. */
const PROBATION_MS = 10_000;
/** How long waits are gathered in which nothing moves. */
const REST_MS = 2000;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const limit = descriptorLimit();
  const cases = CASES.filter(({ size }) => size + RESERVE <= limit && (!isQuick || size <= 1000));
  const repeats = isQuick ? 2 : REPEATS;
  const skipped = isQuick ? [] : CASES.filter((one) => !cases.includes(one)).map(({ size }) => size);
  /** @type {Record<string, any>} */
  const json = { descriptorLimit: limit, skipped, cases: {} };
  const texts = [];
  for (const { size, active } of cases) {
    const name = `${whole(size)} WebSockets${active > 0 ? `, ${active} of them in use` : ''}`;
    say(`${name}, ${repeats} moves`);
    const found = await measure(size, active, repeats);
    const one = Object.fromEntries(Object.entries(found).map(([key, values]) => [key, figure(values)]));
    json.cases[name] = one;
    const inUse = [
      ['echo at rest, p99: ms', ...cells(one.restP99Ms ?? figure([Number.NaN]), ms)],
      ['  longest wait of each in a move, p99: ms', ...cells(one.movingP99Ms ?? figure([Number.NaN]), ms)],
    ];
    texts.push(
      table(
        [`${name}, ${repeats} moves`, 'median', 'quartiles', 'extremes'],
        [
          ['time, as a multiple of the bare loop', ...cells(one.multiple, ratio)],
          ['  commit to last adoption, this machine: ms', ...cells(one.moveMs, ms)],
          ['  bare loop, this machine: ms', ...cells(one.bareMs, ms)],
          ...(active > 0 ? inUse : []),
          ['longest blockage, predecessor: ms', ...cells(one.blockedPredecessorMs, ms)],
          ['  successor (from its listen() on): ms', ...cells(one.blockedSuccessorMs, ms)],
          ['memory of a moved one, of that of an accepted one', ...cells(one.memory, percent)],
        ],
      ),
    );
  }
  if (skipped.length > 0)
    texts.push(`left out, the limit is ${limit} descriptors: ${skipped.map(whole).join(', ')}`);
  return { json, text: texts.join('\n') };
}

/** @param {number} size @param {number} active @param {number} repeats @returns {Promise<Record<string, number[]>>} */
async function measure(size, active, repeats) {
  const control = temporaryFolder('moult-bench-control-');
  const env = { BENCH_CONTROL: control, BENCH_WEBSOCKETS: '1' };
  const moult = await startUnderMoult(env, ['--probation', `${PROBATION_MS}ms`]);
  const clients = startHelper('ws-clients.mjs');
  /** @type {Record<string, number[]>} */
  const found = {};
  const note = (/** @type {Record<string, number>} */ figures) => {
    for (const [name, value] of Object.entries(figures)) {
      found[name] ??= [];
      found[name].push(value);
    }
  };
  try {
    const first = await moult.alone();
    const { usedBytes: emptyBytes } = await askLoop(control, first, '/memory');
    await clients.ask({ type: 'open', port: moult.port, count: size, active });
    const { usedBytes: acceptedBytes } = await askLoop(control, first, '/memory');
    for (let i = 0; i < repeats; i += 1) {
      const predecessor = await moult.alone();
      await clients.ask({ type: 'look' });
      await pause(REST_MS);
      const atRest = await clients.ask({ type: 'look' });
      await askLoop(control, predecessor, '/reset');
      const summary = await moult.restart();
      await pause(SETTLE_MS);
      const moving = await clients.ask({ type: 'look' });
      const [ofPredecessor, ofSuccessor] = await Promise.all(
        [predecessor, summary.successorPid].map((pid) => askLoop(control, pid, '/')),
      );
      const { usedBytes } = await askLoop(control, summary.successorPid, '/memory');
      if (summary.moved !== size || moving.open !== size || moving.closed !== 0)
        throw new Error(`of ${size} WebSockets ${summary.moved} moved, ${moving.closed} were closed`);
      const stageMs = summary.stages.find((/** @type {any} */ one) => one.stage === 'connections').ms;
      const moveMs = Math.max(stageMs, ofSuccessor.lastOpenedAt - summary.committedAt);
      const bareMs = await bare(size);
      note({
        moveMs,
        bareMs,
        multiple: moveMs / bareMs,
        blockedPredecessorMs: ofPredecessor.longestMs,
        blockedSuccessorMs: ofSuccessor.longestMs,
        memory: (usedBytes - emptyBytes) / (acceptedBytes - emptyBytes),
      });
      if (active > 0) note({ restP99Ms: p99(atRest.waitsMs), movingP99Ms: p99(moving.longestMs) });
    }
    await clients.ask({ type: 'close' });
  } finally {
    await clients.stop();
    await moult.stop();
    rmSync(control, { recursive: true, force: true });
  }
  return found;
}

/** @param {readonly number[]} values */
function p99(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}
