// What a command costs: the processor time of commands of `moult` beside that of `node -e 0`, by turns.
import { fileURLToPath } from 'node:url';
import { cells, figure, ms, ratio } from './measure/figures.mjs';
import { runNode } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const BASE = 'node -e 0';
/** @type {readonly (readonly string[])[]} */
const COMMANDS = [['--version'], ['status'], ['history'], ['restart', '--help']];
const BATCHES = 9;
const A_BATCH = 8;

/** Prints the milliseconds of processor time that one of so many runs took: a process knows that of its children. */
const MEASURE = `
const { spawnSync } = require('node:child_process');
const { readFileSync } = require('node:fs');
const [, times, ...args] = process.argv;
const spent = () => {
  // proc(5): cutime and cstime, in hundredths of a second
  const [user, system] = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ').slice(13, 15);
  return (Number(user) + Number(system)) * 10;
};
for (let n = 0; n < times; n += 1) spawnSync(process.execPath, args, { stdio: 'ignore' });
console.log(spent() / times);
`;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const batches = isQuick ? 2 : BATCHES;
  /** @type {Record<string, number[]>} */
  const times = {};
  const service = await startUnderMoult();
  try {
    const measured = [[BASE, ['-e', '0']], ...COMMANDS.map((one) => [one.join(' '), [CLI, ...one]])];
    for (let batch = 0; batch < batches; batch += 1) {
      say(`batch ${batch + 1} of ${batches}`);
      for (const [name, args] of measured) {
        const asked = await runNode(['-e', MEASURE, String(A_BATCH), ...args], service.env);
        times[name] ??= [];
        times[name].push(Number(asked.stdout));
      }
    }
  } finally {
    await service.stop();
  }
  const base = times[BASE];
  const json = Object.fromEntries(
    Object.entries(times).map(([name, of]) => [
      name,
      { ms: figure(of), ratio: figure(of.map((value, at) => value / base[at])) },
    ]),
  );
  const rows = Object.entries(json).flatMap(([name, { ms: took, ratio: part }]) => [
    [name === BASE ? `${name}: ms` : `moult ${name}: ms`, ...cells(took, ms)],
    ...(name === BASE ? [] : [['  by that of node -e 0', ...cells(part, ratio)]]),
  ]);
  const head = [`processor time, ${A_BATCH * batches} runs each`, 'median', 'quartiles', 'extremes'];
  return { json, text: table(head, rows) };
}
