// Breaks a handover in every way of test/fixtures/faults/matrix.mjs and prints what happened.
// node proofs/faults.mjs [--only <words>] [--jobs n] [--verbose] | --write-docs
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cells, document } from '../test/fixtures/faults/matrix.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    jobs: { type: 'string', default: '2' },
    verbose: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
  },
});

if (values['write-docs']) {
  writeFileSync(fileURLToPath(new URL('../docs/reference/failures.md', import.meta.url)), document());
} else {
  process.exitCode = (await runAll()) ? 0 : 1;
}

async function runAll() {
  const { runCell } = await import('../test/fixtures/faults/cell.mjs');
  const todo = cells.filter(
    ({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)),
  );
  const count = todo.length;
  let broken = 0;
  const work = async () => {
    for (let cell = todo.shift(); cell !== undefined; cell = todo.shift()) {
      const seen = await runCell(cell);
      broken += seen.problems.length > 0 ? 1 : 0;
      print(seen);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, work));
  process.stdout.write(`${count - broken} of ${count} as promised\n`);
  return broken === 0;
}

function print({ name, code, problems, serves, command, answered, failed, closed, seconds, output }) {
  const ok = problems.length === 0 ? 'ok  ' : 'FAIL';
  const facts = `${serves ?? '?'}, restart: ${command ?? '?'}, ${answered ?? '?'} answered, ${failed ?? '?'} failed, ${closed ?? '?'} closed, ${seconds} s`;
  process.stdout.write(`${ok} ${name.padEnd(34)} ${code.padEnd(3)} ${facts}\n`);
  for (const problem of problems) process.stdout.write(`       ${problem}\n`);
  if (values.verbose && output) process.stdout.write(`${output.replaceAll(/^/gm, '       | ')}\n`);
}
