import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { LiveLine } from '#moult/terminal/live-line.js';
import { screenOf } from '#moult/terminal/screen.js';

class Terminal {
  readonly isTTY = true;
  columns: number;
  written = '';

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    this.written += text;
  }
}

function withEnvironment(env: Record<string, string>, work: () => void): void {
  const before = { ...process.env };
  Object.assign(process.env, { TERM: 'xterm', NO_COLOR: '', LC_ALL: '', LC_CTYPE: '', LANG: 'C.UTF-8' }, env);
  try {
    work();
  } finally {
    for (const name of ['TERM', 'NO_COLOR', 'LC_ALL', 'LC_CTYPE', 'LANG']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}

describe('the live line', () => {
  it('is one line of a terminal, however narrow, and is gone when it ends', () => {
    for (const columns of [20, 80]) {
      withEnvironment({}, () => {
        const terminal = new Terminal(columns);
        const line = new LiveLine(terminal);
        line.show(
          'a text that is far longer than the twenty columns of a very narrow terminal, and than eighty',
        );
        const drawn = stripVTControlCharacters(terminal.written).replaceAll('\r', '');
        assert.ok(drawn.length > 4 && drawn.length < columns, drawn);
        line.end();
        assert.ok(terminal.written.endsWith('\r\x1b[K'));
        assert.ok(!terminal.written.includes('\n'));
        assert.ok(!terminal.written.includes('\x1b[?25l'), 'the cursor is not hidden');
      });
    }
  });

  it('shows what it was given, not what that would have the terminal do', () => {
    withEnvironment({ NO_COLOR: '1' }, () => {
      const terminal = new Terminal(80);
      const line = new LiveLine(terminal);
      line.show('restarting a\x1b]0;T\x07\nb');
      line.end();
      assert.doesNotMatch(terminal.written.replaceAll('\r\x1b[K', ''), /\p{Cc}/u);
      assert.match(terminal.written, /\\x1b\]0;T\\x07/);
    });
  });

  it('draws nothing where it cannot be drawn over, and what is to stay is written all the same', () => {
    for (const [columns, env] of [
      [0, {}],
      [80, { TERM: 'dumb' }],
      [80, { TERM: '' }],
    ] as const) {
      withEnvironment(env, () => {
        const terminal = new Terminal(columns);
        const line = new LiveLine(terminal);
        line.show('restarting');
        assert.equal(terminal.written, '');
        line.keep('a stage');
        line.end();
        assert.equal(terminal.written, 'a stage\n');
      });
    }
  });

  it('stops being drawn when the terminal loses its size', () => {
    withEnvironment({}, () => {
      const terminal = new Terminal(80);
      const line = new LiveLine(terminal);
      line.show('restarting');
      terminal.columns = 0;
      const before = terminal.written;
      line.show('still restarting');
      assert.equal(terminal.written, before);
      line.end();
    });
  });

  it('has no colour with NO_COLOR, and no Unicode in another locale', () => {
    withEnvironment({ NO_COLOR: '1', LC_ALL: 'POSIX' }, () => {
      const terminal = new Terminal(80);
      const line = new LiveLine(terminal);
      line.show('restarting…');
      line.end();
      assert.match(terminal.written.replaceAll('\r\x1b[K', ''), /^[ -~]+$/);
    });
  });
});

describe('a screen', () => {
  it('is 80 columns wide where none are told', () => {
    for (const stream of [{}, { isTTY: true }, { isTTY: true, columns: 0 }])
      assert.equal(screenOf(stream, { TERM: 'xterm' }).columns, 80);
    assert.equal(screenOf({ isTTY: true, columns: 132 }, { TERM: 'xterm' }).columns, 132);
  });

  it('shows Unicode but on a terminal of another character set', () => {
    const unicode = (stream: object, env: Record<string, string>) => screenOf(stream, env).unicode;
    assert.equal(unicode({ isTTY: true }, { LANG: 'de_DE.UTF-8' }), true);
    assert.equal(unicode({ isTTY: true }, {}), true);
    assert.equal(unicode({ isTTY: true }, { LANG: 'C' }), false);
    assert.equal(unicode({ isTTY: true }, { LANG: 'C.UTF-8', LC_ALL: 'de_DE.ISO-8859-1' }), false);
    assert.equal(unicode({}, { LANG: 'C' }), true);
  });
});
