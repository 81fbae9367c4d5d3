// Kills either side or the supervisor at every step in which jobs, timers, tasks and state change hands, as
// test/fixtures/faults/kills-matrix.mjs has them, and prints what happened.
// node proofs/kills.mjs [--only <words>] [--jobs n] [--verbose]
import { parseArgs } from 'node:util';
import { cells } from '../test/fixtures/faults/kills-matrix.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    jobs: { type: 'string', default: '2' },
    verbose: { type: 'boolean', default: false },
  },
});
const { runKillsCell } = await import('../test/fixtures/faults/kills-cell.mjs');
const todo = cells.filter(
  ({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)),
);
const count = todo.length;
let broken = 0;
const work = async () => {
  for (let cell = todo.shift(); cell !== undefined; cell = todo.shift()) {
    const seen = await runKillsCell(cell);
    broken += seen.problems.length > 0 ? 1 : 0;
    print(seen);
  }
};
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
process.stdout.write(`${count - broken} of ${count} as promised\n`);
process.exitCode = broken === 0 ? 0 : 1;

function print({ name, gone, serves, acknowledged, unknown, problems, seconds, output }) {
  const ok = problems.length === 0 ? 'ok  ' : 'FAIL';
  const facts = `generation ${serves ?? '?'} serves, ${acknowledged ?? '?'} acknowledged, ${unknown ?? '?'} without an answer, ${seconds} s`;
  process.stdout.write(`${ok} ${name.padEnd(34)} ${(gone || '-').padEnd(6)} ${facts}\n`);
  for (const problem of problems.slice(0, 20)) process.stdout.write(`       ${problem}\n`);
  if (values.verbose && output) process.stdout.write(`${output.replaceAll(/^/gm, '       | ')}\n`);
}
