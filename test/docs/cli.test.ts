import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { ownCliPath } from '#moult/verify/moult-command.js';
import { codes, page, rows, sections } from './page.js';

function help(...words: string[]): string {
  return execFileSync(process.execPath, [ownCliPath(), ...words, '--help'], { encoding: 'utf8' });
}

/** The options that a help text lists; the one for help itself stands once on the page, for all commands. */
function optionsIn(text: string): string[] {
  return [...text.matchAll(/^ {2}(-\S.*?)(?: {2}|$)/gm)]
    .map(([, flags]) => flags ?? '')
    .filter((flags) => flags !== '-h, --help');
}

const commands = [...help().matchAll(/^ {2}([a-z]+)(?: \[| {2})/gm)]
  .map(([, name]) => name ?? '')
  .filter((name) => name !== 'help');

describe('docs/reference/cli.md', () => {
  const headings = sections(page('docs/reference/cli.md'), 2);

  it('has a heading for every command, and no other', () => {
    const written = [...headings.keys()].filter((heading) => heading.startsWith('moult '));
    assert.deepEqual(written.sort(), commands.map((name) => `moult ${name}`).sort());
    assert.ok(commands.includes('run') && commands.includes('restart'));
  });

  it('has the options of moult itself', () => {
    const written = rows(headings.get('Every command') ?? '').map(([flags]) => codes(flags ?? '')[0]);
    assert.deepEqual(written.sort(), ['-h, --help', ...optionsIn(help())].sort());
  });

  for (const command of commands) {
    it(`has every option of moult ${command}, and no other`, () => {
      const written = rows(headings.get(`moult ${command}`) ?? '')
        .map(([flags]) => codes(flags ?? '')[0] ?? '')
        .filter((flags) => flags.startsWith('-'));
      assert.deepEqual(written.sort(), optionsIn(help(command)).sort());
    });
  }
});
