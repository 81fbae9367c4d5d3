import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { historyText } from '#moult/cli/operate/history.js';
import type { JournalEntry } from '#moult/lifecycle/journal-entry.js';
import { historyOf } from '#moult/supervisor/journal/restart-history.js';
import { unpainted } from '#moult/terminal/paint.js';

function entry(event: JournalEntry['event'], generation: number, facts: object = {}): JournalEntry {
  return { at: 1_795_913_458_586, event, generation, ...facts };
}

const release = '/srv/app/releases/2026-11-28T21-13-23Z-b7f9c2e/dist/server.js';
const entries = [
  entry('restart', 2, { ok: true, kind: 'restart', release, predecessor: 1, tookMs: 812.4, moved: 12 }),
  entry('confirmed', 2),
  // How it ended is told before its restart is known to have failed, or behind it.
  entry('exited', 3, { code: 7, signal: null }),
  entry('restart', 3, {
    ok: false,
    kind: 'restart',
    release: '/srv/app/releases/broken/server.js',
    code: 'MOULT_SUCCESSOR_EXITED',
    message: 'the successor exited with code 7 before it had taken over',
    lastLine: 'Error: no database',
  }),
  entry('exited', 2, { code: null, signal: 'SIGSEGV' }),
  entry('revived', 4, { predecessor: 2, release, tookMs: 300, message: 'generation 2 was ended by SIGSEGV' }),
  entry('restart', 5, {
    ok: true,
    kind: 'rollback',
    release: '/srv/1/server.js',
    predecessor: 4,
    tookMs: 90_000,
    moved: 40_000,
  }),
  entry('undone', 5, { code: 'MOULT_NOT_ANSWERING', message: 'it hung', lastLine: 'cannot read' }),
  entry('exited', 5, { code: null, signal: 'SIGKILL' }),
];
const all = historyOf(entries);

describe('the history', () => {
  it('has as confirmed what was so while its connections still moved', () => {
    const early = [entry('confirmed', 2), entry('restart', 2, { ok: true, kind: 'restart', predecessor: 1 })];
    assert.deepEqual(
      historyOf([...early, entry('restart', 3, { ok: true })]).map(({ result }) => result),
      ['confirmed', 'took over'],
    );
  });

  it('tells of each what it was, of which release, how its generation ended, and its last line where it failed', () => {
    assert.deepEqual(
      all.map(({ kind, result, exit, lastLine }) => ({ kind, result, exit, lastLine })),
      [
        {
          kind: 'restart',
          result: 'confirmed',
          exit: { code: null, signal: 'SIGSEGV' },
          lastLine: undefined,
        },
        {
          kind: 'restart',
          result: 'failed',
          exit: { code: 7, signal: null },
          lastLine: 'Error: no database',
        },
        { kind: 'crash', result: 'started again', exit: undefined, lastLine: undefined },
        {
          kind: 'rollback',
          result: 'undone',
          exit: { code: null, signal: 'SIGKILL' },
          lastLine: 'cannot read',
        },
      ],
    );
    assert.ok(all.every((one) => typeof one.release === 'string'));
  });

  it('fits into 80 columns as a table, also with slots, and tells the rest below', () => {
    for (const slots of [{}, { slot: 10 }]) {
      const text = unpainted(
        historyText(
          all.map((one) => ({ ...one, ...slots })),
          80,
        ),
      );
      const lines = text.split('\n');
      assert.ok(
        lines.every((line) => line.length <= 80),
        text,
      );
      assert.match(lines[0] ?? '', /^when .* gen +kind +result +took +moved$/);
      for (const told of [
        /crash +started again/,
        /rollback +undone/,
        /generation 2 was ended by SIGSEGV/,
        /its process was ended by SIGKILL/,
        /its last line: Error: no database/,
        /releases\/broken/,
      ])
        assert.match(text, told);
      assert.equal(text.match(/exited with code 7/g)?.length, 1);
    }
  });

  it('names the first connections that were cut, and says how many there are', () => {
    const cut = Array.from({ length: 5 }, (_, n) => ({
      peer: `10.0.0.${n}:4000`,
      ageMs: 30_000 + n,
      reason: 'its response was not finished',
    }));
    const drained = [...entries, entry('drained', 1, { moved: 3, drained: 0, cut })];
    const text = unpainted(historyText(historyOf(drained), 80));
    assert.match(text.replaceAll(/\s+/g, ' '), /5 connections cut: 10\.0\.0\.0:4000 after .*; 2 more/);
    assert.doesNotMatch(text, /10\.0\.0\.3/);
    assert.ok(text.split('\n').every((line) => line.length <= 80));
    const none = historyOf([...entries, entry('drained', 1, { moved: 3, drained: 0, cut: [] })]);
    assert.doesNotMatch(historyText(none, 80), /cut/);
  });
});
