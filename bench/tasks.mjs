// What it costs a restart that jobs, timers, tasks and state change hands; and one in which there are none.
import { get } from 'node:http';
import { cells, figure, ms } from './measure/figures.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

/** The first is without moult's library: what it declares can cost it nothing. */
const KINDS = [
  { name: 'plain node:http, no library', program: 'service.mjs', env: {} },
  { name: 'declares nothing', program: 'declaring-service.mjs', env: { DECLARES: 'nothing' } },
  {
    name: 'declares all kinds, all of them empty',
    program: 'declaring-service.mjs',
    env: { DECLARES: 'all' },
  },
  {
    name: 'declares all kinds, 10,000 timers with 100 bytes each',
    program: 'declaring-service.mjs',
    env: { DECLARES: 'all', TIMERS: '10000' },
  },
];
const RESTARTS = 15;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const restarts = isQuick ? 2 : RESTARTS;
  const running = [];
  try {
    for (const kind of KINDS) {
      const moult = await startUnderMoult(kind.env, ['--probation', '100ms'], kind.program);
      running.push({
        ...kind,
        moult,
        wholeMs: /** @type {number[]} */ ([]),
        nobodyMs: /** @type {number[]} */ ([]),
      });
    }
    for (let round = 0; round < restarts; round += 1) {
      say(`round ${round + 1} of ${restarts}`);
      // Who is first changes: what the machine does besides meets all of them.
      for (let i = 0; i < running.length; i += 1) {
        const one = running[(i + round) % running.length];
        if (one === undefined) continue;
        await one.moult.alone();
        const beganMs = performance.now();
        const { events } = await one.moult.restart();
        one.wholeMs.push(performance.now() - beganMs);
        const commit = events.find((/** @type {any} */ { stage }) => stage === 'commit');
        one.nobodyMs.push(commit.facts.nobodyMs);
      }
    }
    const timers = await ask(running.at(-1)?.moult.port ?? 0);
    if (timers !== 10_000) throw new Error(`of 10,000 timers ${timers} are left`);
  } finally {
    await Promise.all(running.map(({ moult }) => moult.stop()));
  }
  /** @type {Record<string, any>} */
  const json = {};
  const rows = running.flatMap(({ name, wholeMs, nobodyMs }) => {
    json[name] = { wholeMs: figure(wholeMs), nobodyMs: figure(nobodyMs) };
    return [
      [`${name}: ms from the command to its end`, ...cells(json[name].wholeMs, ms)],
      ['  of which nobody accepts', ...cells(json[name].nobodyMs, ms)],
    ];
  });
  return {
    json,
    text: table([`${restarts} restarts of each, by turns`, 'median', 'quartiles', 'extremes'], rows),
  };
}

/** @param {number} port @returns {Promise<number>} */
function ask(port) {
  return new Promise((resolve, reject) => {
    get({ port, path: '/', host: '127.0.0.1', agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve(JSON.parse(text).timers);
    }).on('error', reject);
  });
}
