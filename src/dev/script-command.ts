import { createRequire } from 'node:module';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const TYPESCRIPT = ['.ts', '.mts', '.cts', '.tsx'];

/**
 * The command that runs what a developer names: TypeScript by tsx where the project has it, else by Node itself.
 * @param words a script, or a command with its arguments.
 */
export function devCommand(words: readonly string[], cwd: string): readonly string[] {
  const [first = ''] = words;
  if (!TYPESCRIPT.includes(extname(first))) return words;
  try {
    const tsx = createRequire(resolve(cwd, 'package.json')).resolve('tsx');
    return ['node', '--import', pathToFileURL(tsx).href, ...words];
  } catch {
    return words;
  }
}
