// How long nobody accepts while state of several sizes changes hands, how fast it is copied, and what that costs.
import { readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cells, figure, ms, whole } from './measure/figures.mjs';
import { temporaryFolder } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Each with entries of about a kibibyte, of which 1 in 100 is changed in so many seconds, as long as a copy may take. */
const SIZES = [
  { name: '1 KB', bytes: KIB, repeats: 9, seconds: 1 },
  { name: '10 MB', bytes: 10 * MIB, repeats: 7, seconds: 1 },
  { name: '1 GB', bytes: 1024 * MIB, repeats: 5, seconds: 10 },
];
const VALUE_BYTES = 1000;
/** How long the service is left alone between two restarts. */
const REST_MS = 1000;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  /** @type {Record<string, any>} */
  const json = {};
  const texts = [];
  const sizes = isQuick ? SIZES.slice(0, 2) : SIZES;
  for (const { name, bytes, repeats, seconds } of sizes) {
    const times = isQuick ? 2 : repeats;
    say(`${name}, ${times} restarts`);
    const found = await measure(bytes, seconds, times);
    const one = Object.fromEntries(Object.entries(found).map(([key, values]) => [key, figure(values)]));
    json[name] = one;
    texts.push(
      table(
        [`a map of ${name}, ${times} restarts`, 'median', 'quartiles', 'extremes'],
        [
          ['nobody accepts: ms', ...cells(one.nobodyMs, ms)],
          ['copied before, with what changed: MiB', ...cells(one.copiedMib, ms)],
          ['  MiB a second, start of the process included', ...cells(one.mibPerSecond, ms)],
          ['longest blockage, predecessor: ms', ...cells(one.blockedMs, ms)],
          ['resident memory, predecessor: MiB', ...cells(one.predecessorMib, whole)],
          ['  successor: MiB', ...cells(one.successorMib, whole)],
        ],
      ),
    );
  }
  return { json, text: texts.join('\n') };
}

/** @param {number} bytes @param {number} seconds @param {number} times @returns {Promise<Record<string, number[]>>} */
async function measure(bytes, seconds, times) {
  const entries = Math.max(1, Math.round(bytes / KIB));
  const control = temporaryFolder('moult-bench-state-');
  const env = {
    CONTROL: control,
    ENTRIES: String(entries),
    VALUE_BYTES: String(VALUE_BYTES),
    CHANGED_PER_SECOND: String(entries / 100 / seconds),
    NODE_OPTIONS: '--max-old-space-size=6144',
  };
  const options = ['--ready-timeout', '5m', '--probation', '1s'];
  const moult = await startUnderMoult(env, options, 'state-service.mjs');
  /** @type {Record<string, number[]>} */
  const found = {};
  try {
    for (let i = 0; i < times; i += 1) {
      await moult.alone();
      await pause(REST_MS);
      await ask(moult.port, '/reset');
      const { events, ...summary } = await moult.restart();
      const commit = events.find((/** @type {any} */ { stage }) => stage === 'commit');
      const startedMs = summary.stages
        .filter((/** @type {any} */ { stage }) => ['hello', 'inherit', 'ready'].includes(stage))
        .reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.ms, 0);
      const after = await ask(moult.port, '/');
      const before = JSON.parse(readFileSync(join(control, `${summary.predecessor}.json`), 'utf8'));
      if (after.size !== entries) throw new Error(`of ${entries} entries ${after.size} arrived`);
      const copiedMib = commit.facts.stateBytes / MIB;
      const figures = {
        nobodyMs: commit.facts.nobodyMs,
        copiedMib,
        mibPerSecond: copiedMib / (startedMs / 1000),
        blockedMs: before.longestMs,
        predecessorMib: before.rss / MIB,
        successorMib: after.rss / MIB,
      };
      for (const [key, value] of Object.entries(figures)) {
        found[key] ??= [];
        found[key].push(value);
      }
    }
  } finally {
    await moult.stop();
    rmSync(control, { recursive: true, force: true });
  }
  return found;
}

/** @param {number} port @param {string} path @returns {Promise<any>} */
function ask(port, path) {
  return new Promise((resolve, reject) => {
    get({ port, path, host: '127.0.0.1', agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve(JSON.parse(text));
    }).on('error', reject);
  });
}
