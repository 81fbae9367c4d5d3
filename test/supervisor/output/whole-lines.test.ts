import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { flushLines, WholeLines } from '#moult/supervisor/output/whole-lines.js';

function collected(): { readonly parts: string[]; readonly lines: WholeLines } {
  const parts: string[] = [];
  return { parts, lines: new WholeLines((bytes) => parts.push(bytes.toString())) };
}

describe('output in whole lines', () => {
  it('is passed on up to the last line end, and the rest with its own', () => {
    const { parts, lines } = collected();
    lines.add(Buffer.from('one\ntwo\nthr'));
    lines.add(Buffer.from('e'));
    lines.add(Buffer.from('e\n'));
    assert.deepEqual(parts, ['one\ntwo\n', 'three\n']);
    lines.end();
  });

  it('is passed on without a line end, too: as a prompt, at its end, and where it is long', async () => {
    const { parts, lines } = collected();
    lines.add(Buffer.from('name? '));
    await new Promise<void>((done) => {
      const look = setInterval(() => {
        if (parts.length === 0) return;
        clearInterval(look);
        done();
      }, 1);
    });
    const long = Buffer.alloc(1024 * 1024, 'x');
    lines.add(long);
    assert.deepEqual(
      parts.map((part) => part.length),
      [6, long.length],
    );
    lines.add(Buffer.from('bye'));
    lines.end();
    assert.equal(parts.at(-1), 'bye');
  });

  it('is passed on by all at once where the program becomes another', () => {
    const [one, two] = [collected(), collected()];
    one.lines.add(Buffer.from('a'));
    two.lines.add(Buffer.from('b'));
    flushLines();
    assert.deepEqual([...one.parts, ...two.parts], ['a', 'b']);
    one.lines.end();
    two.lines.end();
  });
});
