import type { Dirent } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { isCodeFile } from './code-files.js';
import { isWhole, makesCode, placeOf, type ReleasePlace } from './data-folders.js';

/*
 * Which files a release is made of, and which its service only writes beside them: the first are kept, and the second
 * must stay one and the same for every release, or what is written under one would be missing under another.
 */

/** One thing of a folder. */
export interface Found {
  /** Its path below the folder. */
  readonly path: string;
  readonly kind: 'folder' | 'file' | 'link';
  /** Where a link leads, as it is written; elsewhere empty. */
  readonly target: string;
  /** The bytes of a file. */
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeMs: number;
  /** What tells a change of it. */
  readonly state: string;
}

/** What a release is made of. */
export interface Scan {
  /** What is copied, a folder before what is in it. */
  readonly copied: readonly Found[];
  /** What all releases share. */
  readonly shared: readonly string[];
}

/** How many files and folders are looked at. */
const MAX_FOUND = 100_000;
const LOOKED_AT_ONCE = 64;
/** What services write. */
const WRITTEN = /\.(db|sqlite3?|ldb|rdb|aof|log|pid|sock|lock|tmp)(-(wal|shm|journal))?$/;
const LOCK_FILES = /^(yarn|poetry|Cargo|bun|Gemfile|composer|package)?(-lock)?\.lock$/;

/** Whether a file of this name is what services write. */
function isWritten(name: string): boolean {
  return WRITTEN.test(name) && !LOCK_FILES.test(name);
}

/**
 * Looks at what is in the folder of a release.
 * @param shared paths below it that all releases share, besides those that are known by their names.
 * @returns undefined where there is too much for one.
 */
export async function scanRelease(root: string, shared: readonly string[]): Promise<Scan | undefined> {
  const scan = { copied: [] as Found[], shared: [] as string[] };
  let left = MAX_FOUND;
  /** @returns whether there is code in it. */
  const into = async (path: string, place: ReleasePlace): Promise<boolean> => {
    const entries = await readdir(join(root, path), { withFileTypes: true });
    left -= entries.length;
    if (left < 0) return false;
    let isCode = false;
    const isPackage = path.split('/').includes('node_modules');
    for (const entry of entries) {
      const at = path === '' ? entry.name : `${path}/${entry.name}`;
      if (shared.includes(at) || isShared(entry, isPackage, place)) {
        scan.shared.push(at);
        continue;
      }
      const inside = entry.isDirectory() && !isPackage ? await placeOf(join(root, at), place) : place;
      const mark = { copied: scan.copied.length, shared: scan.shared.length };
      const found = await describe(root, at);
      if (found === undefined) continue;
      scan.copied.push(found);
      const isPart = entry.isDirectory()
        ? inside !== undefined && (await into(at, inside))
        : makesCode(entry.name, place);
      isCode ||= isPart;
      if (isPart || !entry.isDirectory() || (inside !== undefined && isWhole(inside))) continue;
      scan.copied.length = mark.copied;
      scan.shared.length = mark.shared;
      scan.shared.push(at);
    }
    return isCode;
  };
  await into('', { kind: 'plain', isTop: true });
  return left < 0 ? undefined : scan;
}

/**
 * What came beside a release after it was copied, and is no code.
 * @param folders those that were copied.
 */
export async function sharedSince(root: string, copy: string, folders: readonly string[]): Promise<string[]> {
  const since: string[] = [];
  for (const folder of ['', ...folders.filter((one) => !one.split('/').includes('node_modules'))]) {
    const [now, kept] = await Promise.all([names(join(root, folder)), names(join(copy, folder))]);
    const there = new Set(kept.map(({ name }) => name));
    const isNew = (one: Dirent) => !there.has(one.name) && !isCodeFile(one.name);
    for (const { name } of now.filter(isNew)) since.push(folder === '' ? name : `${folder}/${name}`);
  }
  return since;
}

/** Those of the paths of a release that are not as they were when it was looked at. @param states as {@link Found.state}, by path. */
export async function changedSince(
  root: string,
  states: Readonly<Record<string, string>>,
): Promise<string[]> {
  const changed: string[] = [];
  const paths = Object.keys(states);
  while (paths.length > 0) {
    const some = paths.splice(-LOOKED_AT_ONCE);
    const now = await Promise.all(some.map((path) => describe(root, path)));
    for (const [i, path] of some.entries())
      if (now[i]?.state !== states[path]) changed.push(join(root, path));
  }
  return changed;
}

/** Where a link of a release leads from its copy: into the copy where it led into the release, else to the same place. */
export function targetInCopy(root: string, copy: string, { path, target }: Found): string {
  const goal = resolve(join(root, dirname(path)), target);
  const inside = relative(root, goal);
  if (inside === '..' || inside.startsWith('../')) return goal;
  return target.startsWith('/') ? join(copy, inside) : target;
}

function isShared(entry: Dirent, isPackage: boolean, place: ReleasePlace): boolean {
  if (entry.isDirectory()) return isPackage && entry.name === '.cache';
  if (isPackage) return false;
  const isFile = entry.isFile() || entry.isSymbolicLink();
  return !isFile || isWritten(entry.name) || (place.kind === 'data' && !makesCode(entry.name, place));
}

async function describe(root: string, path: string): Promise<Found | undefined> {
  try {
    const at = join(root, path);
    const stats = await lstat(at);
    const { size, mode, uid, gid, mtimeMs, ctimeMs, ino } = stats;
    const isLink = stats.isSymbolicLink();
    const target = isLink ? await readlink(at) : '';
    const kind = isLink ? 'link' : stats.isDirectory() ? 'folder' : 'file';
    // npm gives each file of a package one and the same time of change, and a new file may have the number of an old one.
    const state = kind === 'file' ? `${size} ${mtimeMs} ${ctimeMs} ${ino}` : target;
    return { path, kind, target, size: kind === 'file' ? size : 0, mode, uid, gid, mtimeMs, state };
  } catch {
    // It was removed just now: what is left of the release is compared afterwards.
    return undefined;
  }
}

async function names(folder: string): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch(() => []);
}
