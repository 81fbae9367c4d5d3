import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import * as limits from '#moult/fleet/limits.js';
import { fleetSchema } from '#moult/fleet/settings.js';
import { ownCliPath } from '#moult/verify/moult/moult-command.js';
import { codes, page, rows, sections } from './page.js';

function help(...words: string[]): string {
  return execFileSync(process.execPath, [ownCliPath(), 'fleet', ...words, '--help'], { encoding: 'utf8' });
}

function optionsIn(text: string): string[] {
  const all = [...text.matchAll(/^ {2}(-\S.*?)(?: {2}|$)/gm)].map(([, flags]) => flags ?? '');
  return all.filter((flags) => flags !== '-h, --help');
}

const commands = [...help().matchAll(/^ {2}([a-z]+) \[/gm)]
  .map(([, name]) => name ?? '')
  .filter((name) => name !== 'help');

describe('docs/reference/fleet.md', () => {
  const text = page('docs/reference/fleet.md');
  const headings = sections(text, 2);

  it('has every command of a fleet with its options, and no other', () => {
    const written = [...headings.keys()].filter((heading) => heading.startsWith('moult fleet '));
    assert.deepEqual(written.sort(), commands.map((name) => `moult fleet ${name}`).sort());
    for (const command of commands) {
      const flags = rows(headings.get(`moult fleet ${command}`) ?? '').map(
        ([first]) => codes(first ?? '')[0],
      );
      assert.deepEqual(flags.sort(), optionsIn(help(command)).sort(), command);
    }
  });

  it('has the defaults of moult fleet restart', () => {
    const said = help('restart').replace(/\s+/g, ' ');
    for (const [flags = '', written = ''] of rows(headings.get('moult fleet restart') ?? '')) {
      const after = said.slice(said.indexOf(codes(flags)[0] ?? ''));
      if (/^[0-9]|^undo/.test(written))
        assert.match(after, new RegExp(`^[^(]*(\\([^d][^)]*\\)[^(]*)*\\(default: "?${written}"?\\)`), flags);
    }
  });

  it('has every setting, and the limits', () => {
    const written = rows(headings.get('Settings') ?? '').map(([first]) => codes(first ?? '')[0]);
    assert.deepEqual(written.sort(), Object.keys(fleetSchema.entries).sort());
    const hosts = limits.MAX_HOSTS.toLocaleString('en-US');
    const flat = text.replace(/\s+/g, ' ');
    for (const told of [
      `A roll takes at most ${hosts} hosts of one service. A host has at most ${limits.MAX_LABELS} labels and a record of ${limits.MAX_HOST_BYTES / 1024} KiB; the record of a roll has at most ${limits.MAX_VALUE_BYTES / 1024} KiB.`,
      `keeps the last ${limits.MAX_PAST_ROLLS} of each service`,
    ])
      assert.ok(flat.includes(told), told);
  });
});
