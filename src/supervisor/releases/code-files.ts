import { extname } from 'node:path';

/** Extensions of files that Node, or what else interprets scripts, runs. */
const CODE = new Set([
  ...['.js', '.cjs', '.mjs', '.ts', '.cts', '.mts', '.jsx', '.tsx', '.node', '.wasm'],
  ...['.py', '.rb', '.pl', '.php', '.sh', '.lua', '.jar', '.exs'],
]);

/** Whether a file is code, by its name. */
export function isCodeFile(path: string): boolean {
  return CODE.has(extname(path));
}
