import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { table } from '#moult/lifecycle/handover-states.js';
import { codes, page, root, rows, sections } from './page.js';

const { wanted } = (await import(pathToFileURL(join(root, 'scripts/rooms.mjs')).href)) as {
  wanted(): string;
};

const { importsOf, circlesOf } = (await import(pathToFileURL(join(root, 'scripts/imports.mjs')).href)) as {
  importsOf(folder: string): Map<string, Set<string>>;
  circlesOf(graph: Map<string, Set<string>>): string[][];
};

const PAGE = 'ARCHITECTURE.md';
const BEGIN =
  '<!-- state machine: made from src/lifecycle/handover-states.ts; MOULT_UPDATE_DOCS=1 npm test -- docs -->';
const END = '<!-- /state machine -->';

/** The state machine as the page shows it: a row for each state, and one picture. */
function stateMachine(): string {
  const states = Object.entries(table);
  const arrows = states.flatMap(([from, { on }]) =>
    Object.entries(on).map(([event, to]) => `  ${from} --> ${to}: ${event}`),
  );
  const cells = states.map(([state, { accepts, on }]) => {
    const leads = Object.entries(on).map(([event, to]) => `\`${event}\` → ${to}`);
    return `| ${state} | ${accepts} | ${leads.join(', ') || '–'} |`;
  });
  return [
    '| state | who accepts | on |',
    '|---|---|---|',
    ...cells,
    '',
    '```mermaid',
    'stateDiagram-v2',
    '  [*] --> serving',
    ...arrows,
    '  ended --> [*]',
    '```',
  ].join('\n');
}

function between(text: string): { before: string; middle: string; after: string } {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  assert.ok(begin >= 0 && end > begin, `${PAGE} has both marks`);
  return {
    before: text.slice(0, begin + BEGIN.length),
    middle: text.slice(begin + BEGIN.length, end).trim(),
    after: text.slice(end),
  };
}

describe('ARCHITECTURE.md', () => {
  it('shows the state machine that the code runs', () => {
    const { before, middle, after } = between(page(PAGE));
    if (process.env.MOULT_UPDATE_DOCS === '1')
      writeFileSync(join(root, PAGE), `${before}\n${stateMachine()}\n${after}`);
    else assert.equal(middle, stateMachine());
  });

  it('names only files and folders that are there', () => {
    const paths = rows(sections(page(PAGE), 2).get('I want to change …') ?? '').flatMap((cells) =>
      cells.slice(1).flatMap(codes),
    );
    const chain = sections(page(PAGE), 2).get('What happens on moult restart') ?? '';
    paths.push(...(chain.match(/src\/[\w/-]+\.c?ts/g) ?? []));
    assert.ok(paths.length > 60);
    assert.deepEqual(
      paths.filter((path) => !existsSync(join(root, path))),
      [],
    );
  });

  it('has every room and sub-room, and what the lint lets it import', () => {
    const src = join(root, 'src');
    const rooms = readdirSync(src, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => relative(src, join(entry.parentPath, entry.name)));
    const written = rows(sections(page(PAGE), 2).get('Rooms') ?? '').map(
      ([room]) => codes(room ?? '')[0]?.replace(/\/$/, '') ?? '',
    );
    assert.deepEqual(written.sort(), rooms.sort());
    assert.equal(page('biome.json'), wanted(), 'what the lint lets them import: npm run rooms');
  });

  it('describes sources without a circle of imports, those of types included', () => {
    const files = importsOf(join(root, 'src'));
    assert.ok(files.get('cli/main.ts')?.has('cli/program.ts'), 'a call of import()');
    assert.ok(files.get('service/preload.cts')?.has('service/preload/hooks.cts'), 'a call of require()');
    assert.ok(files.get('service/preload.cts')?.has('threads/mark.ts'), 'a type');
    assert.deepEqual(circlesOf(files), []);
    files.get('os/libc.ts')?.add('cli/main.ts');
    assert.ok(circlesOf(files)[0]?.includes('os/libc.ts'), 'one that is planted');
  });
});
