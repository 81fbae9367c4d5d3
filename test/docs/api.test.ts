import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { withFolder } from '../integration/supervised.js';
import { root } from './page.js';

const PAGES = join(root, 'docs/reference/api');

/** The pages of a folder by their paths in it. */
function pagesIn(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.md'),
  );
  return Object.fromEntries(files.sort().map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
}

describe('docs/reference/api', () => {
  it('is what the doc comments say, and every export and member has one (npm run reference)', async () => {
    await withFolder(async (folder) => {
      const out = join(folder, 'api');
      const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
      const made = spawnSync(process.execPath, [join(root, 'scripts/reference/make.mjs'), out], {
        env,
        encoding: 'utf8',
      });
      assert.equal(made.status, 0, `${made.stdout}${made.stderr}`);
      assert.deepEqual(pagesIn(PAGES), pagesIn(out));
    });
  });
});
