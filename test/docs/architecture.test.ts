import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { table } from '#moult/lifecycle/handover-states.js';
import { serviceTable } from '#moult/lifecycle/service-states.js';
import { codes, page, root, rows, sections } from './page.js';

const { wanted } = (await import(pathToFileURL(join(root, 'scripts/rooms.mjs')).href)) as {
  wanted(): string;
};

const { longFiles, fullFolders, unexplained } = (await import(
  pathToFileURL(join(root, 'scripts/sizes.mjs')).href
)) as {
  longFiles(folder: string): { path: string; lines: number }[];
  fullFolders(folder: string): { path: string; files: number }[];
  unexplained(folder: string): string[];
};

const { importsOf, circlesOf, inBoxes } = (await import(
  pathToFileURL(join(root, 'scripts/imports.mjs')).href
)) as {
  importsOf(folder: string): Map<string, Set<string>>;
  circlesOf(graph: Map<string, Set<string>>): string[][];
  inBoxes(
    graph: Map<string, Set<string>>,
    boxOf: (file: string) => string | undefined,
  ): Map<string, Set<string>>;
};

const PAGE = 'ARCHITECTURE.md';
const BEGIN =
  '<!-- state machine: made from src/lifecycle/handover-states.ts; MOULT_UPDATE_DOCS=1 npm test -- docs -->';
const END = '<!-- /state machine -->';
const SERVICE_BEGIN =
  '<!-- service states: made from src/lifecycle/service-states.ts; MOULT_UPDATE_DOCS=1 npm test -- docs -->';
const SERVICE_END = '<!-- /service states -->';

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

/** The states of a service as the page shows them: what each event leads to, what is done then, and what changes nothing. */
function serviceStates(): string {
  const cells = Object.entries(serviceTable).map(([state, { serves, on, ignores }]) => {
    const leads = Object.entries(on).map(([event, cell]) => {
      const [to, action] = typeof cell === 'string' ? [cell] : cell;
      return `\`${event}\` → ${to}${action === undefined ? '' : ` (${action})`}`;
    });
    const ignored = [...ignores].sort().map((event) => `\`${event}\``);
    return `| ${state} | ${serves} | ${leads.join(', ') || '–'} | ${ignored.join(', ') || '–'} |`;
  });
  return ['| state | who serves | on | ignores |', '|---|---|---|---|', ...cells].join('\n');
}

/** What the page shows of the code, between two marks. */
const shown = [
  { begin: BEGIN, end: END, made: stateMachine },
  { begin: SERVICE_BEGIN, end: SERVICE_END, made: serviceStates },
];

function between(text: string, { begin, end }: (typeof shown)[number]) {
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  assert.ok(from >= 0 && to > from, `${PAGE} has both marks`);
  return {
    before: text.slice(0, from + begin.length),
    middle: text.slice(from + begin.length, to).trim(),
    after: text.slice(to),
  };
}

describe('ARCHITECTURE.md', () => {
  it('shows the state machines that the code runs', () => {
    for (const one of shown) {
      const { before, middle, after } = between(page(PAGE), one);
      if (process.env.MOULT_UPDATE_DOCS === '1')
        writeFileSync(join(root, PAGE), `${before}\n${one.made()}\n${after}`);
      else assert.equal(middle, one.made());
    }
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

  it('describes rooms without a circle, of sub-rooms and files in a room too', () => {
    const files = importsOf(join(root, 'src'));
    const folders = ['', ...new Set([...files.keys()].map((file) => file.split('/')[0]))].map((room) =>
      room === '' ? '' : `${room}/`,
    );
    const circles = () =>
      folders.flatMap((folder) =>
        circlesOf(
          inBoxes(files, (file) =>
            file.startsWith(folder) ? file.slice(folder.length).split('/')[0] : undefined,
          ),
        ),
      );
    assert.deepEqual(circles(), []);
    files.get('broadcast/message.ts')?.add('broadcast/feeds/feed.ts');
    assert.ok(circles()[0]?.includes('message.ts'), 'one that is planted');
  });

  it('describes exported types and classes of which each has a name of its own', () => {
    const src = join(root, 'src');
    const named = new Map<string, string[]>();
    for (const file of importsOf(src).keys()) {
      const code = readFileSync(join(src, file), 'utf8');
      for (const [, name = ''] of code.matchAll(/^export (?:abstract )?(?:interface|type|class) (\w+)/gm))
        named.set(name, [...(named.get(name) ?? []), file]);
    }
    assert.deepEqual(named.get('BroadcastHub'), ['broadcast/broadcast-hub.ts']);
    assert.deepEqual(
      [...named].filter(([, files]) => files.length > 1),
      [],
    );
  });

  it('describes files and folders that can be looked through', () => {
    const src = join(root, 'src');
    assert.deepEqual(longFiles(src), []);
    assert.deepEqual(fullFolders(src), []);
    assert.deepEqual(unexplained(src), []);
    const copy = mkdtempSync(join(tmpdir(), 'moult-sizes-'));
    try {
      cpSync(src, copy, { recursive: true });
      writeFileSync(join(copy, 'os/planted.ts'), '// one\n'.repeat(401));
      for (let i = 0; i < 15; i += 1) writeFileSync(join(copy, `state/planted-${i}.ts`), '\n');
      writeFileSync(join(copy, 'os/explained.ts'), `// Over 300 lines: planted.\n${'\n'.repeat(301)}`);
      assert.deepEqual(unexplained(copy), ['os/planted.ts']);
      assert.deepEqual(longFiles(copy), [{ path: 'os/planted.ts', lines: 401 }]);
      assert.deepEqual(
        fullFolders(copy).map(({ path }) => path),
        ['state'],
      );
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
});
