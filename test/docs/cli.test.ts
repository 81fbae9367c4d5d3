import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { DEFAULT_TIMES } from '#moult/lifecycle/default-times.js';
import { ownCliPath } from '#moult/verify/moult/moult-command.js';
import { codes, page, root, rows, sections } from './page.js';

const helps = new Map<string, string>();

function help(...words: string[]): string {
  const args = [...words, '--help'];
  const key = args.join(' ');
  const text =
    helps.get(key) ?? execFileSync(process.execPath, [ownCliPath(), ...args], { encoding: 'utf8' });
  helps.set(key, text);
  return text;
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

/** Pages in prose, and what their sentences may name: an option with its default right behind it. */
const PROSE = ['README.md', ...guides()];
const NAMED_DEFAULT = /`(--[a-z-]+)`(?: \(|, )(\d[\d.]* (?:ms|s|min|h))\b/g;

function guides(): string[] {
  return readdirSync(path.join(root, 'docs/guide'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/guide/${name}`);
}

describe('defaults of moult run that prose names', () => {
  it('are those there are', () => {
    const shown = new Map(
      [...defaultsIn(help('run'))].map(([flags, value]) => [/--[a-z-]+/.exec(flags)?.[0], value]),
    );
    const named = PROSE.flatMap((name) =>
      [...page(name).replaceAll('\n', ' ').matchAll(NAMED_DEFAULT)].map(([, option, value]) => ({
        name,
        option,
        value,
      })),
    );
    assert.ok(named.length >= 6, `${named.length} found`);
    const wrong = named.flatMap(({ name, option, value }) => {
      const real = shown.get(option) ?? '';
      // One that depends on other options is told in words by the help.
      return isValue(real) && value !== real ? [`${name}: ${option} is ${real}, not ${value}`] : [];
    });
    assert.deepEqual(wrong, []);
  });

  it('are those of a service without moult run', () => {
    const file = 'src/library/service-options.ts';
    const comments = [...page(file).matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*readonly (\w+)\?/g)].flatMap(
      ([, comment = '', name = '']) => {
        const value = /[Dd]efault ([\d,]+)/.exec(comment.replace(/\s*\*\s*/g, ' '))?.[1];
        return value === undefined || !(name in DEFAULT_TIMES)
          ? []
          : [[name, Number(value.replace(',', ''))]];
      },
    );
    assert.ok(comments.length >= 5, `${comments.length} found`);
    const real: Record<string, number> = DEFAULT_TIMES;
    for (const [name = '', value] of comments) assert.equal(value, real[name], `${name} in ${file}`);
  });
});

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
