/*
 * Loaded before all else, so without an import of Node's modules: src/cli/require-here.ts says why.
 */

/**
 * Has Node keep what it compiles of a command in this user's cache, where it can. What lies there is run: a folder into which
 * others can write is not taken, nor is another user's, such as a home that sudo has kept.
 * Source: Node's documentation, module.enableCompileCache, since 22.8.
 */
export function keepCompiled(): void {
  // The types are those of Node 20.
  const { enableCompileCache } = (process.getBuiltinModule?.('node:module') ?? {}) as {
    enableCompileCache?: (folder: string) => unknown;
  };
  if (enableCompileCache === undefined) return;
  const { mkdirSync } = process.getBuiltinModule('node:fs');
  try {
    const home = process.getBuiltinModule('node:os').homedir();
    const cache = process.env.XDG_CACHE_HOME || `${home}/.cache`;
    const ours = `${cache}/moult`;
    // Nothing is made in another user's home either.
    if (!isOursAlone(home)) return;
    mkdirSync(ours, { recursive: true, mode: 0o700 });
    if ([cache, ours].every(isOursAlone)) enableCompileCache(ours);
  } catch {
    // Without it the command takes some milliseconds more.
  }
}

function isOursAlone(path: string): boolean {
  const stat = process.getBuiltinModule('node:fs').lstatSync(path);
  return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
}
