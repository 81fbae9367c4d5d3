import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { asMoultError, type ErrorCode, errorTable, MoultError } from '#moult/errors.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const codes = Object.keys(errorTable) as ErrorCode[];

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.c?ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The codes that stand in quotes in the sources. `moult verify` judges from outside, and has its own. */
function spokenCodes(): string[] {
  const files = sources(join(root, 'src')).filter((path) => !path.includes('/src/verify/'));
  const found = files.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/(?<=['"])MOULT_[A-Z_]+(?=['"])/g)].map(([code]) => code),
  );
  return [...new Set(found)];
}

describe('the table of errors', () => {
  for (const code of codes) {
    it(`${code} says what it means and what to do, in whole sentences`, () => {
      const { meaning, remedy, serving, retry } = errorTable[code];
      assert.match(code, /^MOULT_[A-Z]+(_[A-Z]+)*$/);
      for (const sentence of [meaning, remedy]) assert.match(sentence, /^([A-Z]|moult ).{15,}\.$/s);
      assert.ok(['predecessor', 'successor', 'both', 'none', 'unchanged'].includes(serving));
      assert.equal(typeof retry, 'boolean');
    });
  }

  it('holds every code that the sources speak of', () => {
    const isVariable = (code: string) =>
      /^MOULT_(SUPERVISOR|PREDECESSOR|GENERATION|NODE_OPTIONS(_WAS)?|DIRECT|SLOT|KOFFI|HELD|PASSED|READY_AFTER|PROTOCOL|UPGRADE|BEGUN|FLEET)$/.test(
        code,
      );
    assert.deepEqual(
      spokenCodes().filter((code) => !isVariable(code) && !(code in errorTable)),
      [],
    );
  });

  it('holds no code that nothing raises', () => {
    const spoken = new Set(spokenCodes());
    assert.deepEqual(
      codes.filter((code) => !spoken.has(code)),
      [],
    );
  });

  it('and its reference page have the same codes, in both directions', () => {
    const page = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8');
    const headings = [...page.matchAll(/^## `?([^`\n]+)`?$/gm)].map(([, heading]) => heading?.trim() ?? '');
    assert.deepEqual(
      headings.filter((heading) => heading.startsWith('MOULT_')).sort(),
      [...codes].sort(),
      'docs/reference/errors.md',
    );
    assert.equal(new Set(headings).size, headings.length, 'a heading comes twice');
  });

  it('and its reference page say the same of each code', () => {
    const flat = (text: string) => text.replaceAll(/\s+/g, ' ').replaceAll('`', '');
    const page = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8');
    const sections = new Map(
      page
        .split(/^## /m)
        .map((section) => [section.split('\n')[0]?.replaceAll('`', '').trim(), flat(section)]),
    );
    for (const [code, { meaning, remedy, retry }] of Object.entries(errorTable)) {
      const section = sections.get(code) ?? '';
      for (const text of [meaning, remedy, `**Retry:** ${retry ? 'may help' : 'does not help'}.`])
        assert.ok(section.includes(flat(text)), `docs/reference/errors.md, ${code}: ${text}`);
    }
  });
});

describe('an error', () => {
  it('has the facts of its row, unless it says otherwise', () => {
    const plain = new MoultError('MOULT_CHECK_FAILED', 'no');
    assert.equal(plain.serving, 'predecessor');
    assert.equal(plain.retry, true);
    assert.equal(plain.remedy, errorTable.MOULT_CHECK_FAILED.remedy);
    assert.equal(plain.stage, undefined);
    assert.ok(!('cause' in plain));
    const cause = new Error('why');
    const other = new MoultError('MOULT_CHECK_FAILED', 'no', {
      serving: 'none',
      stage: 'ready',
      cause,
      details: { a: 1 },
    });
    assert.equal(other.serving, 'none');
    assert.equal(other.stage, 'ready');
    assert.equal(other.cause, cause);
    assert.deepEqual(other.details, { a: 1 });
    assert.equal(other.name, 'MoultError');
  });

  for (const code of codes) {
    it(`${code} comes out of a journey between processes as it went in`, () => {
      const sent = new MoultError(code, 'why', { serving: 'both', stage: 'commit', details: { deep: [1] } });
      const received = MoultError.from(JSON.parse(JSON.stringify(sent.report())));
      assert.deepEqual(received.report(), sent.report());
    });
  }

  it('is known by every copy of the package in the process', async () => {
    const file = pathToFileURL(join(root, 'dist/errors.js')).href;
    const other = (await import(`${file}?another-copy`)) as { MoultError: typeof MoultError };
    assert.notEqual(other.MoultError, MoultError);
    const error: unknown = new other.MoultError('MOULT_STOPPING', 'why');
    assert.ok(error instanceof MoultError);
    assert.equal(asMoultError(error, 'MOULT_SYSTEM_CALL'), error);
    for (const value of [new Error('MoultError'), { name: 'MoultError' }, null, undefined, 'MoultError'])
      assert.ok(!(value instanceof MoultError));
  });

  it('of a code that this version does not know becomes MOULT_HANDOVER_ABORTED', () => {
    for (const code of [
      'MOULT_OF_THE_FUTURE',
      '',
      'toString',
      'constructor',
      '__proto__',
      'hasOwnProperty',
    ]) {
      const error = MoultError.from({ code, message: 'why' });
      assert.equal(error.code, 'MOULT_HANDOVER_ABORTED', code);
      assert.equal(error.message, 'why');
      assert.equal(typeof error.retry, 'boolean');
    }
  });

  it('is made of whatever was thrown, once', () => {
    const mine = new MoultError('MOULT_STOPPING', 'x');
    assert.equal(asMoultError(mine, 'MOULT_SYSTEM_CALL'), mine);
    const error = new RangeError('far');
    const made = asMoultError(error, 'MOULT_SYSTEM_CALL');
    assert.equal(made.code, 'MOULT_SYSTEM_CALL');
    assert.equal(made.message, 'far');
    assert.equal(made.cause, error);
    assert.equal(asMoultError(undefined, 'MOULT_SYSTEM_CALL').message, 'undefined');
  });
});
