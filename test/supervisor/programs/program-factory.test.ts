import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JournalEntry } from '#moult/lifecycle/journal-entry.js';
import { servedLast } from '#moult/supervisor/programs/program-factory.js';

function entries(...words: string[]): JournalEntry[] {
  return words.map((word) => {
    const [event = '', generation] = word.split(' ');
    return { at: 0, event: event as JournalEntry['event'], generation: Number(generation) };
  });
}

describe('which generation of a program served when a journal ended', () => {
  const cases: [string[], number | undefined][] = [
    [['start 1'], undefined],
    [['start 1', 'serving 1'], 1],
    [['serving 1', 'start 2'], 1],
    [['serving 1', 'confirmed 1', 'serving 2'], 2],
    [['serving 1', 'serving 2', 'undone 2'], 1],
    [['serving 1', 'serving 2', 'exited 2'], 1],
    [['serving 1', 'confirmed 1', 'stopping 1'], undefined],
    [['serving 1', 'serving 2', 'confirmed 2', 'stopping 1'], 2],
    [['serving 1', 'serving 2', 'confirmed 2', 'exited 2'], undefined],
  ];
  for (const [told, expected] of cases) {
    it(`after ${told.join(', ')}: ${expected ?? 'none'}`, () =>
      assert.equal(servedLast(entries(...told)), expected));
  }
});
