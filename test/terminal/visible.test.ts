import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { paint } from '#moult/terminal/paint.js';
import { print, printJson, rendered } from '#moult/terminal/print.js';
import { visible, visibleLine } from '#moult/terminal/visible.js';
import fc from '../support/fast-check.js';

const plain = { columns: 80, unicode: true, colours: false, live: false };
const coloured = { ...plain, colours: true, live: true };
const ascii = { ...plain, unicode: false };

/** What a terminal obeys, or what deceives whoever reads: written down apart from the code. */
function dangers(text: string): string[] {
  return [...text].filter((character) => {
    const code = character.codePointAt(0) ?? 0;
    return (
      (code < 0x20 && code !== 0x0a && code !== 0x09) ||
      (code >= 0x7f && code <= 0x9f) ||
      (code >= 0xd800 && code <= 0xdfff) ||
      [0x061c, 0x200e, 0x200f, 0xfeff, 0x200b].includes(code) ||
      (code >= 0x2028 && code <= 0x202e) ||
      (code >= 0x2066 && code <= 0x2069) ||
      (code >= 0xe0000 && code <= 0xe007f)
    );
  });
}

const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc
    .array(
      fc.constantFrom(
        '\x1b]0;T\x07',
        '\x1b[2J',
        '\x1b[31m',
        '\x9b31m',
        '\x90x\x9c',
        '\x1b]52;c;eA==\x1b\\',
        '\u202e',
        '\u2066',
        '\ud800',
        '\r',
        '\x7f',
        '\x08',
        '\ufdd0',
        '\ufdd1',
        'text',
        '✓',
      ),
    )
    .map((parts) => parts.join('')),
);

describe('text of others on a terminal', () => {
  it('holds nothing that the terminal obeys, whatever it is', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const screen of [plain, ascii, coloured]) assert.deepEqual(dangers(rendered(text, screen)), []);
        assert.deepEqual(dangers(visibleLine(text)), []);
        assert.doesNotMatch(visibleLine(text), /[\n\t]/);
      }),
    );
  });

  it('is not changed where there is nothing to be seen', () => {
    for (const text of ['plain', 'Größe 10 µs', '日本語', '✓ 👍🏽', 'two\nlines\tand a tab', '✗ x']) {
      assert.equal(rendered(text, plain), text);
    }
  });

  it('shows what was there', () => {
    assert.equal(visible('a\x1b[31mb\x9bc\u202ed\ud800e\x7f'), 'a\\x1b[31mb\\x9bc\\u202ed\\ud800e\\x7f');
    assert.equal(visible('\u{e0041}'), '\\u{e0041}');
    assert.equal(
      visible('a line\r\nand another\r'),
      'a line\nand another',
      'line ends of another system are none',
    );
    assert.equal(visible('hidden\rshown'), 'hidden\\rshown');
    assert.equal(visibleLine('a\nb\tc'), 'a\\nb\\tc');
  });

  it('cannot colour itself, also when it holds the marks of which ours are made', () => {
    const own = paint.red('x');
    const stolen = own.replace('x', '');
    for (const text of ['\x1b[31mx', '\ufdd031\ufdd1x', `\ufdd0${'0'.repeat(16)}31\ufdd1x`])
      assert.ok(!rendered(text, coloured).includes('\x1b'));
    assert.equal(rendered(own, coloured), '\x1b[31mx\x1b[39m');
    assert.equal(rendered(own, plain), 'x');
    assert.notEqual(stolen, own);
  });

  it('is in ASCII where the terminal has another character set, in which bytes of the rest would be control characters', () => {
    fc.assert(fc.property(hostile, (text) => assert.match(rendered(text, ascii), /^[\t\n -~]*$/)));
    assert.equal(rendered('✓ done', ascii), 'ok done');
  });
});

describe('JSON for programs', () => {
  it('is the same value on a terminal as in a pipe, without what the terminal obeys', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        let written = '';
        const stream = { write: (part: string) => (written += part) };
        printJson({ text }, stream);
        assert.equal(written, `${JSON.stringify({ text })}\n`);
        written = '';
        printJson({ text }, { ...stream, isTTY: true });
        assert.deepEqual(dangers(written), []);
        assert.deepEqual(JSON.parse(written), JSON.parse(JSON.stringify({ text })));
      }),
    );
  });
});

describe('what is printed', () => {
  it('has colours as the terminal and its environment have them', () => {
    const written = (stream: object, env: Record<string, string>) => {
      const before = { ...process.env };
      Object.assign(process.env, { NO_COLOR: '', FORCE_COLOR: '', TERM: 'xterm', LANG: 'C.UTF-8' }, env);
      let text = '';
      try {
        print(paint.green('x'), { ...stream, write: (part: string) => (text += part) });
      } finally {
        for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM', 'LANG']) {
          if (before[name] === undefined) delete process.env[name];
          else process.env[name] = before[name];
        }
      }
      return text;
    };
    assert.ok(written({ isTTY: true, columns: 80 }, {}).startsWith('\x1b[32m'));
    assert.ok(written({}, { FORCE_COLOR: '1' }).startsWith('\x1b[32m'));
    for (const [stream, env] of [
      [{}, {}],
      [{ isTTY: true }, { NO_COLOR: '1' }],
      [{ isTTY: true }, { NO_COLOR: '1', FORCE_COLOR: '1' }],
      [{ isTTY: true }, { TERM: 'dumb' }],
      [{ isTTY: true }, { TERM: '' }],
    ] as const)
      assert.equal(written(stream, env), 'x\n', JSON.stringify([stream, env]));
  });
});
