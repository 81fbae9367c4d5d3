import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './support/temporary-folder.js';
import { tidy } from './support/tidy.js';

const reporter = fileURLToPath(new URL('../../scripts/test-reporter.mjs', import.meta.url));

describe('what npm test prints', () => {
  tidy('tells each failed test again before the summary, which is the end', (later) => {
    const folder = temporaryFolder(later);
    const named = join(folder, 'named.test.mjs');
    writeFileSync(
      named,
      [
        "import { describe, it } from 'node:test';",
        "describe('a suite', () => { it('is right', () => {});",
        "it('is wrong', () => { throw new Error('what is wrong'); }); });",
      ].join('\n'),
    );
    const ended = join(folder, 'ended.test.mjs');
    writeFileSync(ended, 'process.exit(3);');
    const lines = output(named, ended).trimEnd().split('\n');
    const again = lines.filter((line) => line.startsWith('# failed: '));
    assert.deepEqual(again.sort(), [`# failed: ${ended} (${ended}:1)`, `# failed: is wrong (${named}:3)`]);
    assert.ok(lines.some((line) => /^# {3}Error: what is wrong$/.test(line)));
    const summary = lines.slice(lines.findIndex((line) => line.startsWith('# tests ')));
    assert.equal(
      summary.find((line) => line.startsWith('# fail ')),
      '# fail 2',
    );
    assert.ok(
      summary.every((line) => /^# [a-z_]+ [\d.]+$/.test(line)),
      summary.join('\n'),
    );
  });
});

function output(...files: string[]): string {
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...env } = process.env;
  try {
    return execFileSync(
      process.execPath,
      ['--test', '--test-concurrency=1', `--test-reporter=${reporter}`, ...files],
      { encoding: 'utf8', env },
    );
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}
