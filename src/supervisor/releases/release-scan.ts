import type { Dirent } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { isCodeFile } from './code-files.js';

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
/** Folders of these names are part of a release, whatever is in them. */
const OF_RELEASES = new Set([
  ...['node_modules', 'dist', 'build', 'out', 'public', 'static', 'assets', 'views', 'templates', 'locales'],
  ...['.next', '.nuxt', '.output', '.svelte-kit', '.astro'],
]);
/** Folders of these names are no part of one, whatever is in them. */
const OF_SERVICES = new Set([
  ...['data', 'db', 'database', 'uploads', 'storage', 'backups', 'logs', 'log', 'tmp', 'temp', 'var', 'run'],
  ...['cache', '.cache', '.vite', 'coverage', '.git'],
]);
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
  const into = async (path: string, isWhole: boolean): Promise<boolean> => {
    const entries = await readdir(join(root, path), { withFileTypes: true });
    left -= entries.length;
    if (left < 0) return false;
    let hasCode = false;
    const isPackage = path.split('/').includes('node_modules');
    for (const entry of entries) {
      const at = path === '' ? entry.name : `${path}/${entry.name}`;
      if (shared.includes(at) || isShared(entry, isPackage)) scan.shared.push(at);
      else if (entry.isDirectory()) {
        const mark = { copied: scan.copied.length, shared: scan.shared.length };
        const found = await describe(root, at);
        if (found === undefined) continue;
        scan.copied.push(found);
        const isOfRelease = isWhole || OF_RELEASES.has(entry.name);
        const isCoded = await into(at, isOfRelease);
        hasCode ||= isCoded;
        if (isCoded || isOfRelease) continue;
        scan.copied.length = mark.copied;
        scan.shared.length = mark.shared;
        scan.shared.push(at);
      } else if (entry.isFile() || entry.isSymbolicLink()) {
        const found = await describe(root, at);
        if (found !== undefined) scan.copied.push(found);
        hasCode ||= isCodeFile(entry.name);
      }
    }
    return hasCode;
  };
  await into('', false);
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

function isShared(entry: Dirent, isPackage: boolean): boolean {
  if (entry.isDirectory()) return isPackage ? entry.name === '.cache' : OF_SERVICES.has(entry.name);
  return !isPackage && (!(entry.isFile() || entry.isSymbolicLink()) || isWritten(entry.name));
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
