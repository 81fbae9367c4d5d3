import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { root } from './page.js';

const { wanted } = (await import(pathToFileURL(join(root, 'scripts/rooms.mjs')).href)) as {
  wanted(root?: string): string;
};

const ROWS = [
  '| `supervisor/planted/` | a sub-room of this test | os, supervisor/options.ts, supervisor/neighboring |',
  '| `supervisor/neighboring/` | another one | os |',
].join('\n');

/** One import of `any` from this file; what the lint is about is the path only. */
const line = (specifier: string): string => `export { any } from '${specifier}';\n`;

describe('the lint of rooms', () => {
  let copy: string;

  before(() => {
    copy = mkdtempSync(join(tmpdir(), 'moult-rooms-'));
    cpSync(join(root, 'src'), join(copy, 'src'), { recursive: true });
    cpSync(join(root, 'biome.json'), join(copy, 'biome.json'));
    for (const folder of ['planted', 'neighboring']) mkdirSync(join(copy, 'src/supervisor', folder));
    describeRooms(ROWS);
    writeFileSync(join(copy, 'biome.json'), wanted(copy));
  });
  after(() => rmSync(copy, { recursive: true, force: true }));

  function describeRooms(more: string): void {
    const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
    writeFileSync(join(copy, 'ARCHITECTURE.md'), page.replace(/^(\| `supervisor\/`.*)$/m, `$1\n${more}`));
  }

  /** What the lint says of a file with these imports: those that it refuses. */
  function refused(file: string, specifiers: string[]): string[] {
    const path = join(copy, 'src', file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, specifiers.map(line).join(''));
    const biome = join(root, 'node_modules/@biomejs/biome/bin/biome');
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [biome, 'lint', '--reporter=github', '--only=style/noRestrictedImports', path],
      { cwd: copy, encoding: 'utf8' },
    );
    rmSync(path);
    const lines = [...`${stdout}${stderr}`.matchAll(/::error .*?line=(\d+)/g)].map(([, at]) => Number(at));
    assert.equal(status, lines.length === 0 ? 0 : 1, `${stdout}${stderr}`);
    return lines.map((at) => specifiers[at - 1] ?? `line ${at}`);
  }

  it('refuses in a room what its row does not name, and nothing else', () => {
    const forbidden = ['../cli/run.js', '../supervisor/supervisor.js', '../supervisor/planted/any.js'];
    const allowed = ['./channel.js', '../os/clock.js', '../errors.js', '../version.js', 'node:net'];
    assert.deepEqual(refused('channel/planted.ts', [...forbidden, ...allowed]), forbidden);
  });

  it('refuses Node in a pure room', () => {
    assert.deepEqual(refused('protocol/planted.ts', ['node:net', './frame.js', '../errors.js']), [
      'node:net',
    ]);
  });

  it('refuses in a sub-room what its own row does not name, and nothing else', () => {
    const forbidden = [
      '../supervisor.js',
      '../options.cjs',
      '../elsewhere/any.js',
      '../../supervisor/options.js',
      '../../supervisor/neighboring/any.js',
      '../../channel/channel.js',
      '../../cli/run.js',
    ];
    const allowed = [
      './any.js',
      '../options.js',
      '../neighboring/any.js',
      '../../os/clock.js',
      '../../errors.js',
    ];
    assert.deepEqual(refused('supervisor/planted/any.ts', [...forbidden, ...allowed]), forbidden);
    assert.deepEqual(refused('supervisor/neighboring/any.ts', ['../planted/any.js']), ['../planted/any.js']);
  });

  it('lets the files of a room import its sub-rooms', () => {
    assert.deepEqual(refused('supervisor/any.ts', ['./planted/any.js', '../cli/run.js']), ['../cli/run.js']);
  });

  for (const [name, row, message] of [
    ['a room that is not there', '| `supervisor/absent/` | x | os |', /src\/supervisor\/absent is not there/],
    ['more than its room may import', '| `supervisor/planted/` | x | cli |', /cli is more than supervisor\//],
    ['an unknown name', '| `supervisor/planted/` | x | oss |', /oss is neither a room nor a file/],
    [
      'a circle',
      `${ROWS.replace('| os |', '| supervisor/planted |')}`,
      /circle of rooms: supervisor\/neighboring, supervisor\/planted/,
    ],
  ] as const)
    it(`refuses a table with ${name}`, () => {
      describeRooms(row);
      assert.throws(() => wanted(copy), { message });
      describeRooms(ROWS);
    });
});
