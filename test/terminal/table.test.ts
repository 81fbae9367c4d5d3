import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { paint } from '#moult/terminal/paint.js';
import { type Row, table } from '#moult/terminal/table.js';
import { cut, widthOf, wrap } from '#moult/terminal/width.js';
import fc from '../support/fast-check.js';

const word = fc.string({ unit: 'grapheme', maxLength: 60 });

describe('a table', () => {
  it('fits into the columns that there are, whatever is in it, from 20 columns on', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(word, fc.nat(), fc.array(word, { maxLength: 4 }), word), { maxLength: 6 }),
        fc.integer({ min: 20, max: 200 }),
        (data, columns) => {
          const rows = data.map(
            ([text, number, lines, under]): Row => ({
              cells: [text, number, lines],
              paint: { 0: paint.red },
              below: [under],
            }),
          );
          for (const line of table(['a title', 'number', 'some lines'], rows, columns))
            assert.ok(widthOf(line) <= columns, `${widthOf(line)} > ${columns}: ${line}`);
        },
      ),
    );
  });

  it('loses no text, however narrow it is', () => {
    const path = '/var/lib/a/very/long/path/to/a/socket/of/a/service.sock';
    for (const columns of [20, 40, 80, 200]) {
      const lines = table(
        ['path', 'state'],
        [{ cells: [path, 'serving'], below: [`because of ${path}`] }],
        columns,
      );
      const text = lines.join('').replaceAll(/\s/g, '');
      assert.ok(text.includes(path) && text.includes('serving'), lines.join('\n'));
      assert.equal(text.split(path).length - 1, 2);
    }
  });

  it('of a cell with 20,000 lines, and of one with a line of a million characters, is drawn', () => {
    const many = Array.from({ length: 20_000 }, (_, n) => `/run/tenant-${n}.sock`);
    assert.equal(table(['listens on'], [{ cells: [many] }], 80).length, 20_001);
    const long = table(['text'], [{ cells: ['x'.repeat(1_000_000)], below: ['y '.repeat(500_000)] }], 80);
    assert.ok(long.length > 20_000);
  });

  it('shows line ends in a cell, so that none can pass for another row', () => {
    const lines = table(['name', 'state'], [{ cells: ['a\nb  serving', 'dead'] }], 80);
    assert.equal(lines.length, 2);
    assert.match(lines[1] ?? '', /a\\nb {2}serving/);
  });
});

describe('a text', () => {
  it('is wrapped into lines that fit, from which it can be read again', () => {
    fc.assert(
      fc.property(fc.array(word), fc.integer({ min: 2, max: 100 }), (words, columns) => {
        const text = words.join(' ');
        const lines = wrap(text, columns);
        for (const line of lines) assert.ok(widthOf(line) <= columns);
        assert.equal(lines.join('').replaceAll(' ', ''), text.replaceAll(' ', ''));
      }),
    );
  });

  it('is cut where it does not fit', () => {
    fc.assert(
      fc.property(word, fc.integer({ min: 1, max: 80 }), (text, columns) => {
        assert.ok(widthOf(cut(text, columns)) <= columns);
        if (widthOf(text) <= columns) assert.equal(cut(text, columns), text);
      }),
    );
    assert.equal(widthOf('日本語'), 6);
    assert.equal(widthOf(paint.bold('e\u0301')), 1);
  });
});
