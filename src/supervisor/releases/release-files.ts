import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';
import { isShortage } from '../../os/descriptors/shortage.js';
import { isOfTheSystem } from './pinned-paths.js';
import { CODE, listRelease, type ReleaseListing, withPackages } from './release-listing.js';

/*
 * Releases are often written over each other in one folder: then the one before is no more, whatever its path is. What a
 * release consists of is noted when it starts, so that this is seen.
 */

/** What is read whole: the entry, and what says which packages belong to it. */
const MANIFESTS = [
  'package.json',
  'package-lock.json',
  'npm-shrinkwrap.json',
  'yarn.lock',
  'pnpm-lock.yaml',
  'bun.lock',
  'node_modules/.package-lock.json',
  '.next/BUILD_ID',
];
const MAX_HASHED_BYTES = 8 * 1024 * 1024;
const MAX_NAMES_TOLD = 3;

/** The contents of what a release is known by: a hash for each path, null for one that cannot be read; not what cannot be read just now. */
export type ReleaseFiles = Readonly<Record<string, string | null>>;

/** Notes what a release is known by. @param words its command with its arguments; without Node, where that runs it. */
export function releaseFiles(words: readonly string[], cwd: string): ReleaseFiles {
  const paths = words.map((word, i) => (i === 0 && !word.includes('/') ? '' : resolve(cwd, word)));
  const program = ownProgram(paths[0]);
  const entry = paths.find((path) => CODE.has(extname(path)) && isFile(path)) ?? program;
  const folder = packageFolder(entry === undefined ? cwd : dirname(entry));
  const there = MANIFESTS.map((name) => join(folder, name)).filter((path) => hashOf(path) !== null);
  // Each once: a program may run a script, and be of the release itself.
  const known = new Set([entry, program, ...there].filter((path) => path !== undefined));
  const hashes = [...known].map((path) => [path, hashOf(path)] as const);
  return Object.fromEntries(hashes.filter((one): one is [string, string | null] => one[1] !== undefined));
}

/** A release, as far as its files are concerned. */
interface NotedRelease {
  readonly cwd: string;
  /** What it is known by; none where an earlier version of moult has noted it. */
  readonly files?: ReleaseFiles;
}

interface Noted {
  readonly roots: readonly string[];
  readonly listing: Promise<ReleaseListing | undefined>;
  /** Since when it has served, where it was noted later. */
  readonly sinceMs: number | undefined;
}

const noted = new WeakMap<NotedRelease, Noted>();

/**
 * Notes in the background what lies in the folders of a release that serves.
 * @param entry what its service runs, where it has said so: a shell may have gone elsewhere for that.
 * @param sinceMs since when it has served, in milliseconds since 1970; by default from now on.
 */
export function noteFolders(release: NotedRelease, entry?: string, sinceMs?: number): void {
  const before = noted.get(release);
  // One that an earlier supervisor has started says what it runs when it comes back.
  if (before !== undefined && (before.sinceMs === undefined || entry === undefined)) return;
  const isKnown = Object.keys(release.files ?? {}).length > 0;
  const own = entry?.startsWith('/') ? [packageFolder(dirname(entry))] : [];
  const roots = withPackages([...own, ...(isKnown ? [folderOf(release)] : [])]);
  const sinceThen = sinceMs ?? before?.sinceMs;
  if (roots.length === 0 || roots.join() === before?.roots.join()) return;
  noted.set(release, { roots, listing: listRelease(roots, sinceThen), sinceMs: sinceThen });
}

/** Those of what a release is known by that are not what they were, as far as they can be read now. */
export function changedFiles({ files = {} }: NotedRelease): string[] {
  return Object.keys(files).filter((path) => {
    const now = hashOf(path);
    return now !== undefined && now !== files[path];
  });
}

/**
 * What of a release is not as it was when it started.
 * @param over the release that serves in its place: what lies in one folder with that was written over, whatever it is.
 * @returns paths of files that were changed or removed. A file that came beside them is no part of it: releases of one file
 *   each may share a folder, and programs write code, too.
 */
export async function changes(release: NotedRelease, over?: NotedRelease): Promise<string[]> {
  const changed = changedFiles(release);
  const before = noted.get(release);
  const was = await before?.listing;
  if (changed.length > 0 || before === undefined || was === undefined) return changed;
  const now = await listRelease(before.roots);
  if (now === undefined) return changed;
  const differing = (sort: keyof ReleaseListing) =>
    [...was[sort].keys()].filter((path) => was[sort].get(path) !== now[sort].get(path));
  const code = differing('code');
  return code.length === 0 && isWrittenOver(before, over) ? differing('others') : code;
}

// Where each release has a folder of its own, what changed in the one of before was written by its service.
function isWrittenOver({ roots: [folder] }: Noted, over: NotedRelease | undefined): boolean {
  return over !== undefined && noted.get(over)?.roots[0] === folder;
}

/**
 * What a release cannot start without, and is not there any more: its working directory, its program, or what Node runs.
 * @returns undefined where all of it is there, as far as that can be seen.
 */
export function removedFrom(release: NotedRelease & { readonly isDirect: boolean }): string | undefined {
  const { cwd, isDirect, files = {} } = release;
  // What another program makes of its arguments is not known.
  const isNeeded = (path: string) => isDirect || !CODE.has(extname(path));
  const programs = Object.keys(files).filter(
    (path) => !MANIFESTS.some((name) => path.endsWith(`/${name}`)) && isNeeded(path),
  );
  return [cwd, ...programs].find(isRemoved);
}

/** The first few of some paths, for people. */
export function named(paths: readonly string[]): string {
  const more = paths.length - MAX_NAMES_TOLD;
  return paths.slice(0, MAX_NAMES_TOLD).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** The folder of a release: of its package, or of its entry. */
export function folderOf({ files = {}, cwd }: NotedRelease): string {
  const [entry] = Object.keys(files);
  return packageFolder(entry === undefined ? cwd : dirname(entry));
}

function isRemoved(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The program itself, where it is one of the release's own, such as ./server of Go. */
function ownProgram(path: string | undefined): string | undefined {
  return path !== undefined && path !== '' && !isOfTheSystem(path) && isFile(path) ? path : undefined;
}

/** The folder of the package to which another one belongs; itself where it belongs to none. A package that was installed is part of what it was installed for. */
function packageFolder(from: string): string {
  const [outer = from] = `${from}/`.split('/node_modules/', 1);
  const isInstalled = outer !== `${from}/` && outer !== '';
  const folder = isInstalled ? nearestPackage(outer) : undefined;
  return folder ?? nearestPackage(from) ?? from;
}

function nearestPackage(from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    if (hashOf(join(folder, 'package.json')) !== null) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

// Nothing where it is there, and cannot be read for want of descriptors.
function hashOf(path: string): string | null | undefined {
  try {
    const found = statSync(path);
    // A pipe would be waited for.
    if (!found.isFile()) return null;
    const { size, mtimeMs } = found;
    if (size > MAX_HASHED_BYTES) return `${size} ${mtimeMs}`;
    const content = reserve.use(() => readFileSync(path));
    return createHash('sha256').update(content).digest('base64').slice(0, 22);
  } catch (error) {
    return isShortage(error) ? undefined : null;
  }
}
