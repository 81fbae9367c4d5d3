import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../../../src', import.meta.url));
/** What the process of a supervisor begins with. */
const ENTRY = join(source, 'cli/commands/run.ts');
const IMPORTS = /^(?:import|export)\s+(?!type\b)[^;]*?from\s+'(\.[^']+)\.js'|\bimport\('(\.[^']+)\.js'\)/gms;

/** The files of `src` that a supervisor's process may load, by their paths below `src`, sorted. */
export function supervisorFiles(): string[] {
  const found = new Set<string>();
  for (const todo = [ENTRY]; todo.length > 0; ) {
    const file = todo.pop() ?? '';
    if (found.has(file)) continue;
    found.add(file);
    for (const [, atStart, later] of readFileSync(file, 'utf8').matchAll(IMPORTS)) {
      const path = join(dirname(file), `${atStart ?? later}.ts`);
      if (existsSync(path)) todo.push(path);
    }
  }
  return [...found].map((file) => relative(source, file)).sort();
}

/** The text of one of them. */
export function sourceOf(file: string): string {
  return readFileSync(join(source, file), 'utf8');
}
