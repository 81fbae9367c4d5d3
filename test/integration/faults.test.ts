import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { root } from './supervised.js';

interface Cell {
  readonly name: string;
  readonly stage: string;
  readonly fault: string;
  readonly text: string;
}

const load = async (file: string) =>
  (await import(pathToFileURL(path.join(root, 'test/fixtures/faults', file)).href)) as unknown;
const { cells, cut, faults, stages, document } = (await load('matrix.mjs')) as {
  cells: readonly Cell[];
  cut: readonly string[];
  faults: readonly { name: string }[];
  stages: readonly { stage: string }[];
  document(): string;
};
const brokenCalls = (await load('calls-matrix.mjs')) as {
  cells: readonly (Cell & { errors: readonly string[] })[];
  cut: readonly string[];
};
const { runCallsCell } = (await load('calls-cell.mjs')) as {
  runCallsCell(cell: object, most: number): Promise<{ fired: number; problems: string[]; output?: string }>;
};
const kills = (await load('kills-matrix.mjs')) as { cells: readonly Cell[]; cut: readonly string[] };
const { runKillsCell } = (await load('kills-cell.mjs')) as {
  runKillsCell(cell: Cell): Promise<{ problems: string[]; output?: string }>;
};
const { runCell } = (await load('cell.mjs')) as {
  runCell(cell: Cell): Promise<{ problems: string[]; output?: string }>;
};

describe('the fault matrix', () => {
  it('has every fault of every stage that the tests run, and no fault without one', () => {
    const named = new Set(cells.map(({ name }) => name));
    for (const name of cut) assert.ok(named.has(name), name);
    for (const { name } of faults)
      assert.ok(cut.some((cell) => cell.endsWith(name)) || name.startsWith('message'));
    for (const { stage } of stages)
      assert.ok(
        cells.some((cell) => cell.stage === stage),
        stage,
      );
  });

  it('is what docs/reference/failures.md says (node proofs/faults.mjs --write-docs)', () => {
    assert.equal(readFileSync(path.join(root, 'docs/reference/failures.md'), 'utf8'), document());
  });
});

// All of them: node proofs/faults.mjs
describe('a fault', () => {
  for (const name of cut) {
    const cell = cells.find((one) => one.name === name);
    if (cell === undefined) continue;
    it(`at ${name}: ${cell.text}`, async () => {
      const { problems, output } = await runCell(cell);
      assert.deepEqual(problems, [], output);
    });
  }
});

// All of them: node proofs/broken-calls.mjs
describe('a call of the system that fails in the supervisor', () => {
  for (const name of brokenCalls.cut) {
    const cell = brokenCalls.cells.find((one) => one.name === name);
    if (cell === undefined) throw new Error(`no cell ${name}`);
    it(`at ${name}: ${cell.text}`, async () => {
      const { fired, problems, output } = await runCallsCell({ ...cell, errors: cell.errors.slice(0, 1) }, 1);
      assert.deepEqual(problems, [], output);
      assert.ok(fired > 0);
    });
  }
});

// All of them: node proofs/kills.mjs
describe('a kill while jobs, timers, tasks and state change hands', () => {
  for (const name of kills.cut) {
    it(`at ${name}: what was acknowledged comes to pass once`, async () => {
      const cell = kills.cells.find((one) => one.name === name);
      assert.ok(cell !== undefined);
      const { problems, output } = await runKillsCell(cell);
      assert.deepEqual(problems, [], output);
    });
  }
});
