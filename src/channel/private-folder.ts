import { chmodSync, lstatSync, mkdirSync, renameSync, type Stats, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MoultError } from '../errors.js';
import { wallClockMs } from '../os/clock.js';
import { trusted } from '../os/unix-sockets/peer.js';

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
  const made = makeFolder(path);
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

/**
 * Makes a private folder again that was there before, where it was removed, replaced, or opened to others.
 * @returns what was found instead; undefined when it is as it was.
 * @throws MOULT_PEER_REFUSED when it belongs to somebody else now; what the file system refuses with.
 */
export function makePrivateAgain(path: string): string | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  const closed = trusted().length > 0 ? 0o007 : 0o077;
  if (stat?.isDirectory() === true && (stat.mode & closed) === 0) return undefined;
  const ours = process.geteuid?.() ?? 0;
  // What is another user's is not touched.
  if (stat === undefined || stat.uid !== ours) makePrivate(path);
  else if (stat.isDirectory()) chmodSync(path, stat.mode & 0o7777 & ~closed);
  else {
    renameSync(path, `${path}.aside-${Math.floor(wallClockMs())}`);
    makePrivate(path);
  }
  return stat === undefined ? `${path} was missing` : `${path} was ${describe(stat)}`;
}

function makeFolder(path: string): string | undefined {
  try {
    return mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MoultError(
      'MOULT_RUN_FOLDER',
      `the run folder ${path} cannot be made: ${reason}. Set XDG_RUNTIME_DIR to a folder that this user may write to`,
      { cause },
    );
  }
}

/**
 * Checks that a folder cannot have been put there by others, so that what answers in it may be believed: in one that
 * everybody may write to, such as the temporary folder, it must be this user's or root's, and no link. One that is not there passes.
 * @throws MOULT_PEER_REFUSED
 */
export function assertNotPlanted(path: string): void {
  const ours = process.geteuid?.() ?? 0;
  let above: Stats;
  let stat: Stats;
  try {
    above = statSync(dirname(path));
    stat = lstatSync(path);
  } catch {
    return;
  }
  const isAnybodys = (above.mode & 0o002) !== 0;
  if (!isAnybodys || (stat.isDirectory() && (stat.uid === ours || stat.uid === 0))) return;
  throw new MoultError(
    'MOULT_PEER_REFUSED',
    `expected ${path} to be a folder of user ${ours}, found ${describe(stat)}, which anybody may have created, so moult ignores it. Move it away, or set XDG_RUNTIME_DIR`,
  );
}

/**
 * The users who may listen at a socket in a private folder: the folder's owner, and where its group is let in and
 * nobody else, whoever of them has put the socket there, such as a supervisor that took over from another user's.
 * @throws what the file system says when the folder is not there.
 */
export function ownersOf(folder: string, socket: string): number[] {
  const { uid, mode } = lstatSync(folder);
  const found = (mode & 0o027) === 0o020 ? lstatSync(socket, { throwIfNoEntry: false }) : undefined;
  return found?.isSocket() === true ? [uid, found.uid] : [uid];
}

/** The mode of a file or socket in such a folder: its group's too where other users are trusted. */
export function privateMode(): number {
  return trusted().length > 0 ? 0o660 : 0o600;
}

function describe(stat: { uid: number; mode: number; isDirectory(): boolean }): string {
  const mode = (stat.mode & 0o777).toString(8);
  return `${stat.isDirectory() ? 'a folder' : 'another thing'} of user ${stat.uid} with mode 0${mode}`;
}
