import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MoultError } from '../errors.js';

/** Where everything of this user's services lies: `$XDG_RUNTIME_DIR/moult`, else a private folder under the temporary one. */
export function runRoot(env: NodeJS.ProcessEnv = process.env): string {
  const base = env.XDG_RUNTIME_DIR;
  return base ? join(base, 'moult') : join(tmpdir(), `moult-${process.geteuid?.() ?? 0}`);
}

/**
 * Makes a folder that only this user can enter, and those above it.
 * @throws MOULT_PEER_REFUSED when there is one already that others could enter.
 */
export function makePrivate(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const stat = lstatSync(path);
  const ours = process.geteuid?.() ?? stat.uid;
  if (!stat.isDirectory() || stat.uid !== ours || (stat.mode & 0o077) !== 0) {
    throw new MoultError(
      'MOULT_PEER_REFUSED',
      `expected ${path} to be a folder of user ${ours} with mode 0700, found ${describe(stat)}: move it away`,
    );
  }
}

function describe(stat: { uid: number; mode: number; isDirectory(): boolean }): string {
  const mode = (stat.mode & 0o777).toString(8);
  return `${stat.isDirectory() ? 'a folder' : 'another thing'} of user ${stat.uid} with mode 0${mode}`;
}
