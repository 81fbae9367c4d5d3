import { type Dirent, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { unixFileInode } from '../../os/sockets/socket-diag.js';

/** In how many entries of a folder a link is looked for. */
const MAX_ENTRIES = 1000;

/** By this link, by another name that it was given beside it (a hard link), or by one that it was given in its place. */
export type Shown = { readonly link: string } | 'named-twice' | 'renamed';

/** By what clients come to a path that holds the number of its process; undefined where nothing shows that they do. */
export function shownAs(bound: string, pid: number, inode: number): Shown | undefined {
  const path = absolute(bound, pid);
  if (path === undefined) return undefined;
  const names = namesAt(path);
  if (names === 0) return hasOtherName(path, inode) ? 'renamed' : undefined;
  if (names > 1) return 'named-twice';
  const link = linkTo(path);
  return link === undefined ? undefined : { link };
}

/** The same in words, after the path. */
export function howShown(shown: Shown): string {
  if (shown === 'renamed') return 'which has been renamed since';
  if (shown === 'named-twice') return 'which has another name as well (a hard link)';
  return `to which the link ${shown.link} leads`;
}

// It is as its process gave it.
function absolute(path: string, pid: number): string | undefined {
  try {
    return resolve(readlinkSync(`/proc/${pid}/cwd`), path);
  } catch {
    return undefined;
  }
}

/** How many names the file at a path has; 0 where there is none. */
function namesAt(path: string): number {
  try {
    return lstatSync(path).nlink;
  } catch {
    return 0;
  }
}

/** Whether the file of a socket lies beside the path as which it was bound, or one folder up: not so where it was removed. */
function hasOtherName(path: string, inode: number): boolean {
  const file = unixFileInode(inode);
  if (file === undefined) return false;
  return foldersOf(path).some((folder) =>
    entriesOf(folder).some((entry) => entry.isSocket() && fileInode(join(folder, entry.name)) === file),
  );
}

function fileInode(path: string): number | undefined {
  try {
    return lstatSync(path).ino % 2 ** 32;
  } catch {
    return undefined;
  }
}

function foldersOf(path: string): readonly string[] {
  return [dirname(path), dirname(dirname(path))];
}

/** The symbolic link to a path that lies beside it, or one folder up. */
function linkTo(path: string): string | undefined {
  for (const folder of foldersOf(path)) {
    for (const entry of entriesOf(folder)) {
      const link = join(folder, entry.name);
      if (entry.isSymbolicLink() && leadsTo(link, path)) return link;
    }
  }
  return undefined;
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).slice(0, MAX_ENTRIES);
  } catch {
    return [];
  }
}

function leadsTo(link: string, path: string): boolean {
  try {
    return resolve(dirname(link), readlinkSync(link)) === path;
  } catch {
    return false;
  }
}
