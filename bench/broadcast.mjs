// How many messages a second a service sends to a hundred WebSockets: by a loop over them and by `broadcastTo`, alone, while a
// restart is on its way, and while a predecessor is kept that shares them.
import { setTimeout as pause } from 'node:timers/promises';
import { cells, figure, whole } from './measure/figures.mjs';
import { startHelper } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const CLIENTS = 100;
const REPEATS = 6;
const STRETCH_MS = 2000;
const PROBATION_MS = 6000;
/** A message of 100 bytes and its header. Source: RFC 6455, section 5.2. */
const FRAME_BYTES = 102;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const repeats = isQuick ? 1 : REPEATS;
  /** @type {Record<string, number[]>} */
  const found = {};
  // By turns: what else the machine does concerns both.
  for (let i = 0; i < repeats; i += 1) {
    for (const how of ['loop', 'broadcast']) {
      say(`${how}, ${i + 1} of ${repeats}`);
      await measure(how, (name, value) => {
        found[name] ??= [];
        found[name].push(value);
      });
    }
  }
  const json = Object.fromEntries(Object.entries(found).map(([name, values]) => [name, figure(values)]));
  const row = (/** @type {string} */ title, /** @type {string} */ name) => [
    title,
    ...cells(json[name] ?? figure([Number.NaN]), whole),
  ];
  const text = table(
    [
      `messages a second to ${CLIENTS} WebSockets, ${repeats} services each`,
      'median',
      'quartiles',
      'extremes',
    ],
    [
      row('a loop over them, alone', 'loop alone'),
      row('  in a stretch with a restart (those that are elsewhere get none)', 'loop restart'),
      row('broadcastTo, alone', 'broadcast alone'),
      row('  in a stretch with a restart', 'broadcast restart'),
      row('  while the predecessor is kept', 'broadcast shared'),
    ],
  );
  return { json, text };
}

/** @param {string} how @param {(name: string, value: number) => void} note */
async function measure(how, note) {
  const moult = await startUnderMoult(
    { HOW: how },
    ['--probation', `${PROBATION_MS}ms`],
    'broadcast-service.mjs',
  );
  const clients = startHelper('broadcast-clients.mjs');
  const stretch = async (/** @type {() => Promise<unknown>} */ during) => {
    const before = await clients.ask({ type: 'look' });
    await during();
    const after = await clients.ask({ type: 'look' });
    if (after.closed.length > 0) {
      const codes = [...new Set(after.closed)].join(', ');
      throw new Error(`${after.closed.length} WebSockets were closed (${codes})\n${moult.output()}`);
    }
    return ((after.bytes - before.bytes) / FRAME_BYTES) * (1000 / (after.at - before.at));
  };
  try {
    await clients.ask({ type: 'open', port: moult.port, count: CLIENTS });
    await pause(STRETCH_MS / 2);
    note(`${how} alone`, await stretch(() => pause(STRETCH_MS)));
    note(`${how} restart`, await stretch(() => Promise.all([pause(STRETCH_MS), moult.restart()])));
    note(`${how} shared`, await stretch(() => pause(STRETCH_MS)));
    await clients.ask({ type: 'close' });
  } finally {
    await clients.stop();
    await moult.stop();
  }
}
