import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { ownCliPath } from '#moult/verify/moult/moult-command.js';
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

/** What each option of a help text is without being given, as it is shown there. */
function defaultsIn(text: string): Map<string, string> {
  const entries = text.split(/^ {2}(?=-)/m).slice(1);
  return new Map(
    entries.map((entry) => {
      const [flags = ''] = entry.split(/ {2}|\n/);
      const [, shown = ''] = /\(default: ("[^"]*"|[^)]*)\)/.exec(entry.replace(/\s+/g, ' ')) ?? [];
      return [flags, shown.replaceAll('"', '')];
    }),
  );
}

/** A default in words is no value: the page says there what comes of giving nothing. */
const isValue = (text: string): boolean => /^[0-9]|^SIG|^(taken|on-|over|go$|wait$|undo$|info$)/.test(text);

const commands = [...help().matchAll(/^ {2}([a-z]+)(?: \[| <| {2})/gm)]
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

    it(`has the defaults of moult ${command}`, () => {
      const text = headings.get(`moult ${command}`) ?? '';
      if (!text.includes('| option | default |')) return;
      const shown = defaultsIn(help(command));
      for (const [flags = '', written = ''] of rows(text)) {
        const real = shown.get(codes(flags)[0] ?? '') ?? '';
        // One that depends on other options is none to commander, and is told in words.
        if (isValue(real) || (isValue(written) && !written.includes(';'))) assert.equal(written, real, flags);
      }
    });
  }
});
