import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const IMPORT = /(?:import\s+\{([^{}]*)\}\s+from\s+|\{([^{}]*)\}\s*=\s*await import\(\s*)'(\.[^']+)'/g;

/** Scripts that npm test does not run: what they import may move away unnoticed. */
function scripts(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.mjs') && !name.includes('node_modules'))
    .map((name) => join(root, folder, name));
}

/** The source of what a built file comes from. */
function sourceOf(path: string): string {
  const [build, dist] = [join(root, 'build/test/'), join(root, 'dist/')];
  if (path.startsWith(build)) return path.replace(build, join(root, 'test/')).replace(/\.js$/, '.ts');
  if (path.startsWith(dist)) return path.replace(dist, join(root, 'src/')).replace(/\.(c?)js$/, '.$1ts');
  return path;
}

describe('what proofs and benchmarks import', () => {
  it('is there', () => {
    const missing: string[] = [];
    let seen = 0;
    for (const file of [...scripts('proofs'), ...scripts('bench')]) {
      for (const [, fixed, later, path = ''] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
        const source = sourceOf(resolve(dirname(file), path));
        const text = existsSync(source) ? readFileSync(source, 'utf8') : '';
        for (const one of (fixed ?? later ?? '').split(',')) {
          const name = one.trim().split(/\s+as\s+|:/)[0] ?? '';
          if (name === '') continue;
          seen += 1;
          const isThere = new RegExp(`^export\\b[^;(=]*\\b${name}\\b`, 'm').test(text);
          if (!isThere) missing.push(`${file.slice(root.length)}: ${name} of ${path}`);
        }
      }
    }
    assert.deepEqual(missing, []);
    assert.ok(seen > 100, String(seen));
  });
});
