import { lstatSync, mkdirSync } from 'node:fs';
import module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Has Node keep what it compiles of a command in this user's cache, where it can. What lies there is run: a folder into which
 * others can write is not taken, nor is another user's, such as a home that sudo has kept.
 * Source: Node's documentation, module.enableCompileCache, since 22.8.
 */
export function keepCompiled(): void {
  // The types are those of Node 20.
  const { enableCompileCache } = module as { enableCompileCache?: (folder: string) => unknown };
  if (enableCompileCache === undefined) return;
  try {
    const home = homedir();
    const cache = process.env.XDG_CACHE_HOME || join(home, '.cache');
    const ours = join(cache, 'moult');
    // Nothing is made in another user's home either.
    if (!isOursAlone(home)) return;
    mkdirSync(ours, { recursive: true, mode: 0o700 });
    if ([cache, ours].every(isOursAlone)) enableCompileCache(ours);
  } catch {
    // Without it the command takes some milliseconds more.
  }
}

function isOursAlone(path: string): boolean {
  const stat = lstatSync(path);
  return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
}
