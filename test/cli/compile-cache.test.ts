import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import module from 'node:module';
import path from 'node:path';
import { describe, it } from 'node:test';
import { keepCompiled } from '#moult/cli/compile-cache.js';
import { withFolder } from '../integration/supervised.js';

/** The folder that Node is given for its cache with this home; undefined when it is given none. */
function cacheWith(home: string): string | undefined {
  const given: string[] = [];
  const node = module as { enableCompileCache?: unknown };
  const { enableCompileCache } = node;
  const { HOME, XDG_CACHE_HOME } = process.env;
  node.enableCompileCache = (folder: string) => given.push(folder);
  process.env.HOME = home;
  delete process.env.XDG_CACHE_HOME;
  try {
    keepCompiled();
  } finally {
    node.enableCompileCache = enableCompileCache;
    process.env.HOME = HOME;
    if (XDG_CACHE_HOME !== undefined) process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
  }
  return given[0];
}

describe('what Node keeps compiled', () => {
  it('lies in a folder of this user alone, or nowhere', async () => {
    await withFolder(async (folder) => {
      assert.equal(cacheWith(folder), path.join(folder, '.cache/moult'));
      for (const open of ['.cache/moult', '.cache']) {
        chmodSync(path.join(folder, open), 0o777);
        assert.equal(cacheWith(folder), undefined, open);
        chmodSync(path.join(folder, open), 0o700);
      }
      assert.equal(cacheWith(path.join(folder, 'missing/home')), undefined);
      const linked = path.join(folder, 'linked');
      mkdirSync(linked);
      symlinkSync(path.join(folder, '.cache'), path.join(linked, '.cache'));
      assert.equal(cacheWith(linked), undefined);
    });
  });

  it('is not looked for in the home of another user, where nothing is made', {
    skip: process.geteuid?.() !== 0,
  }, async () => {
    await withFolder(async (folder) => {
      chownSync(folder, 65_534, 65_534);
      assert.equal(cacheWith(folder), undefined);
      assert.equal(existsSync(path.join(folder, '.cache')), false);
    });
  });
});
