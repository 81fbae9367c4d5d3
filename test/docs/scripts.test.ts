import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { root } from './page.js';

/** What `npm test` does not run, and would not miss. */
const FOLDERS = ['scripts', 'proofs', 'bench', 'test/fixtures'];
const IMPORT = /(?:\bfrom|\bimport|\bimport\()\s*'((?:\.\.?|#moult)\/[^']+)'/g;
/** An import whose path is put together is seen by no check: only where one of several plug-ins is chosen by its name. */
const PUT_TOGETHER = /\bimport\((?!['"])[^)]*\bdist\b/;

const scripts = FOLDERS.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.m?js$/.test(name) && !name.includes('node_modules'))
    .map((name) => `${folder}/${name}`),
);

/** Where an import of a script leads, from the root. */
function goalOf(script: string, specifier: string): string {
  return specifier.startsWith('#moult/')
    ? `dist/${specifier.slice('#moult/'.length)}`
    : join(dirname(script), specifier);
}

describe('the scripts, proofs and benchmarks', () => {
  it('import only what is there', () => {
    const imports = scripts.flatMap((script) =>
      [...readFileSync(join(root, script), 'utf8').matchAll(IMPORT)].map(([, specifier = '']) => ({
        script,
        goal: goalOf(script, specifier),
      })),
    );
    assert.ok(imports.length > 150, String(imports.length));
    assert.ok(imports.some(({ goal }) => goal === 'dist/verify/verify.js'));
    const missing = imports.filter(({ goal }) => !existsSync(join(root, goal)));
    assert.deepEqual(missing, []);
  });

  it('name the modules of moult that they import', () => {
    const bad = scripts.filter((script) => PUT_TOGETHER.test(readFileSync(join(root, script), 'utf8')));
    assert.deepEqual(bad, []);
  });
});
