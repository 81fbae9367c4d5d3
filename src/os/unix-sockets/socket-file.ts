import { chmodSync, lchownSync, lstatSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** Who may connect to a Unix socket: the mode and the owner of its file. */
export interface SocketAccess {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * What names the file of a Unix socket for as long as the file has a name: its device and inode.
 * Links are followed, as connect() does. Source: unix(7); Linux net/unix/af_unix.c, unix_find_bsd.
 * @returns undefined where the path leads to no socket.
 */
export function socketFile(path: string): string | undefined {
  try {
    const stat = statSync(path, { bigint: true });
    return stat.isSocket() ? `${stat.dev}-${stat.ino}` : undefined;
  } catch {
    return undefined;
  }
}

/** The place of a path in its real folder, whatever links lead there; undefined where the folder is gone. */
export function realPlace(path: string): string | undefined {
  try {
    const whole = resolve(path);
    return join(realpathSync(dirname(whole)), basename(whole));
  } catch {
    return undefined;
  }
}

/** Whether anything is at a path, be it a link that leads nowhere. */
export function isAnything(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Who may connect to the socket at a path; undefined where there is none. */
export function socketAccess(path: string): SocketAccess | undefined {
  try {
    const { mode, uid, gid } = statSync(path);
    return { mode: mode & 0o7777, uid, gid };
  } catch {
    return undefined;
  }
}

/** Whether both let the same users connect. */
export function isSameAccess(one: SocketAccess, other: SocketAccess): boolean {
  return one.mode === other.mode && one.uid === other.uid && one.gid === other.gid;
}

let depth = 0;

/** Does something to paths past whatever watches over what the service does to them. */
export function byMoult<T>(work: () => T): T {
  depth += 1;
  try {
    return work();
  } finally {
    depth -= 1;
  }
}

/** Whether {@link byMoult} is at work. */
export function isByMoult(): boolean {
  return depth > 0;
}

/** Lets those connect to the socket at a path who could before. @throws what the system says. */
export function setSocketAccess(path: string, wanted: SocketAccess): void {
  const now = socketAccess(path);
  if (now === undefined || isSameAccess(now, wanted)) return;
  byMoult(() => {
    if (now.uid !== wanted.uid || now.gid !== wanted.gid) lchownSync(path, wanted.uid, wanted.gid);
    chmodSync(path, wanted.mode);
  });
}
