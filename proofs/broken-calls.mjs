// Breaks every call of the system of a supervisor at every stage, as test/fixtures/faults/calls-matrix.mjs has them, and
// prints what happened. node proofs/broken-calls.mjs [--only <words>] [--jobs n] [--most n] [--verbose] [--write-results]
// The last has what was found written where the page of failures takes it: then node proofs/faults.mjs --write-docs.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cells, results as known } from '../test/fixtures/faults/calls-matrix.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    jobs: { type: 'string', default: '2' },
    most: { type: 'string' },
    'write-results': { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
const { runCallsCell } = await import('../test/fixtures/faults/calls-cell.mjs');
const todo = cells.filter(
  ({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)),
);
const count = todo.length;
let broken = 0;
let fired = 0;
const results = {};
const work = async () => {
  for (let cell = todo.shift(); cell !== undefined; cell = todo.shift()) {
    const seen = await runCallsCell(cell, values.most && Number(values.most));
    results[seen.name] = { places: seen.places, fired: seen.fired, kept: seen.problems.length === 0 };
    broken += seen.problems.length > 0 ? 1 : 0;
    fired += seen.fired;
    print(seen);
  }
};
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
process.stdout.write(`${count - broken} of ${count} as promised, ${fired} calls have failed\n`);
if (values['write-results']) {
  const all = { ...known, ...results };
  const inOrder = cells.flatMap(({ name }) => (all[name] === undefined ? [] : [[name, all[name]]]));
  // As the formatter has it.
  const line = ([name, { places, fired, kept }]) =>
    `  ${JSON.stringify(name)}: { "places": ${places}, "fired": ${fired}, "kept": ${kept} }`;
  const lines = inOrder.map(line);
  writeFileSync(
    fileURLToPath(new URL('../test/fixtures/faults/calls-results.json', import.meta.url)),
    `{\n${lines.join(',\n')}\n}\n`,
  );
}
process.exitCode = broken === 0 ? 0 : 1;

function print({ name, places, fired, outcomes, missed, problems, seconds, output }) {
  const ok = problems.length === 0 ? 'ok  ' : 'FAIL';
  process.stdout.write(
    `${ok} ${name.padEnd(20)} ${places} places, ${fired} failed, ${JSON.stringify(outcomes)}, ${seconds} s\n`,
  );
  for (const place of missed) process.stdout.write(`       not reached again: ${place}\n`);
  for (const problem of problems) process.stdout.write(`       ${problem}\n`);
  if (values.verbose && output) process.stdout.write(`${output.replaceAll(/^/gm, '       | ')}\n`);
}
