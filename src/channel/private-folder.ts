import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MoultError } from '../errors.js';
import { trusted } from '../os/peer.js';

/** Where everything of this user's services lies: `$XDG_RUNTIME_DIR/moult`, else a private folder under the temporary one. */
export function runRoot(env: NodeJS.ProcessEnv = process.env): string {
  const base = env.XDG_RUNTIME_DIR;
  return base ? join(base, 'moult') : join(tmpdir(), `moult-${process.geteuid?.() ?? 0}`);
}

/**
 * Makes a folder that only this user can enter, and those above it. Where other users are trusted its group may
 * enter too, and it may be one of theirs.
 * @throws MOULT_PEER_REFUSED when there is one already that others could enter.
 */
export function makePrivate(path: string): void {
  const friends = trusted();
  const made = mkdirSync(path, { recursive: true, mode: 0o700 });
  const ours = process.geteuid?.() ?? 0;
  let stat = lstatSync(path);
  if (made !== undefined && friends.length > 0) {
    // Added, so that what the folder above has passed on stays.
    chmodSync(path, (stat.mode & 0o7777) | 0o070);
    stat = lstatSync(path);
  }
  const owners = friends.length > 0 ? [ours, 0, ...friends] : [ours];
  const closed = friends.length > 0 ? 0o007 : 0o077;
  if (!stat.isDirectory() || !owners.includes(stat.uid) || (stat.mode & closed) !== 0) {
    const wanted = friends.length > 0 ? 'that others than its group cannot enter' : 'with mode 0700';
    throw new MoultError(
      'MOULT_PEER_REFUSED',
      `expected ${path} to be a folder of user ${owners.join(' or ')} ${wanted}, found ${describe(stat)}: move it away`,
    );
  }
}

/** The mode of a file or socket in such a folder: its group's too where other users are trusted. */
export function privateMode(): number {
  return trusted().length > 0 ? 0o660 : 0o600;
}

function describe(stat: { uid: number; mode: number; isDirectory(): boolean }): string {
  const mode = (stat.mode & 0o777).toString(8);
  return `${stat.isDirectory() ? 'a folder' : 'another thing'} of user ${stat.uid} with mode 0${mode}`;
}
