import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const FILES = ['standalone/service-bundle.cjs', 'threads/entry.cjs', 'cli/begin-again.cjs'];

describe('a file that a service loads', () => {
  for (const file of FILES) {
    const text = readFileSync(fileURLToPath(import.meta.resolve(`#moult/${file}`)), 'utf8');

    it(`has a byte for each character in memory, whatever it has in a comment: ${file}`, () => {
      assert.deepEqual(
        [...text].filter((character) => character > '\u00ff'),
        [],
      );
    });

    it(`has no comments: ${file}`, () => {
      // A line may begin in the middle of a text, after a backslash.
      assert.doesNotMatch(text, /(?<!\\\n)^\s*(\/\/|\/\*\*)/m);
    });

    it(`has lines that a stack trace can name: ${file}`, () => {
      assert.ok(text.length / text.split('\n').length < 200);
    });
  }
});
