import { createHash } from 'node:crypto';
import { type Dirent, readFileSync, statSync } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { wallClockMs } from '../../os/clock.js';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';
import { isShortage } from '../../os/descriptors/shortage.js';
import { type BesideFiles, changedAmong, factsOf, isBesideFile, mayHoldBeside } from './beside-files.js';
import { isCodeFile } from './code-files.js';
import { isOfTheSystem } from './pinned-paths.js';

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
/** How many files of a release are looked at, those nearest to its folder first. */
const MAX_FILES = 20_000;
/** How many of them may be of packages that were installed there: which one is replaced shows in those nearest to the folder. */
const MAX_INSTALLED_FILES = 2000;
const INSTALLED = 'node_modules';
/** How many files beside code are noted, those nearest to its folder first. */
const MAX_BESIDE = 2000;
/** How many links out of its folder are followed. */
const MAX_LINKS = 100;
/** What programs write while they run, and what no release is made of. */
const PASSED_OVER = new Set(['.git', '.cache', '.vite', 'tmp', 'temp', 'logs', 'coverage']);
const MAX_NAMES_TOLD = 3;
/** How many changed files are told of to programs. */
const MAX_CHANGED = 100;

/** The contents of what a release is known by: a hash for each path, null for one that cannot be read; not what cannot be read just now. */
export type ReleaseFiles = Readonly<Record<string, string | null>>;

/** Notes what a release is known by. @param words its command with its arguments; without Node, where that runs it. */
export function releaseFiles(words: readonly string[], cwd: string): ReleaseFiles {
  const paths = words.map((word, i) => (i === 0 && !word.includes('/') ? '' : resolve(cwd, word)));
  const program = ownProgram(paths[0]);
  const entry = paths.find((path) => isCodeFile(path) && isFile(path)) ?? program;
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

/** What lies in the folder of a release: its code, and what releases carry beside that. */
interface FolderFiles {
  readonly code: ReadonlyMap<string, string>;
  readonly beside: BesideFiles;
}

const folders = new WeakMap<NotedRelease, Promise<FolderFiles | undefined>>();
/** When the last release that is new there has started in a folder, in milliseconds since 1970. */
const lastStarts = new Map<string, number>();

/** Notes in the background what lies in the folder of a release that starts now. */
export function noteFolder(release: NotedRelease): void {
  if (Object.keys(release.files ?? {}).length === 0 || folders.has(release)) return;
  const folder = folderOf(release);
  lastStarts.set(folder, wallClockMs());
  folders.set(release, filesIn(folder));
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
 * @returns paths of files that were changed or removed. A file that came beside them is no part of it: releases of one file
 *   each may share a folder, and programs write code, too.
 */
export async function changes(release: NotedRelease): Promise<string[]> {
  const changed = changedFiles(release);
  const before = (await folders.get(release))?.code;
  if (changed.length > 0 || before === undefined) return changed;
  return changedAmong(before);
}

/**
 * What of a release beside its code was changed between its start and that of the last one that was written over it. It may be
 * data that its service has written.
 * @param later the one that served after it.
 * @returns paths; none where the later one lies elsewhere, or where it is not known what the folder held.
 */
export async function changesBeside(
  release: NotedRelease,
  later: NotedRelease | undefined,
): Promise<string[]> {
  const before = await folders.get(release);
  if (before === undefined || later === undefined || later === release) return [];
  const folder = folderOf(release);
  if (folder !== folderOf(later)) return [];
  return (await changedAmong(before.beside, lastStarts.get(folder) ?? 0)).slice(0, MAX_CHANGED);
}

/** All that of a release whose process serves again is not on disk as it was when that started: the first of it. */
export async function changedUnder(
  release: NotedRelease,
  later: NotedRelease | undefined,
): Promise<string[]> {
  return [...(await changes(release)), ...(await changesBeside(release, later))].slice(0, MAX_CHANGED);
}

/**
 * What a release cannot start without, and is not there any more: its working directory, its program, or what Node runs.
 * @returns undefined where all of it is there, as far as that can be seen.
 */
export function removedFrom(release: NotedRelease & { readonly isDirect: boolean }): string | undefined {
  const { cwd, isDirect, files = {} } = release;
  // What another program makes of its arguments is not known.
  const isNeeded = (path: string) => isDirect || !isCodeFile(path);
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

/** The files of a release below this folder, with what tells a change of each; undefined where not all could be looked at just now. */
async function filesIn(root: string): Promise<FolderFiles | undefined> {
  const code = new Map<string, string>();
  const beside = new Map<string, string>();
  const seen = new Set<string>();
  let [left, leftInstalled, leftBeside] = [MAX_FILES, MAX_INSTALLED_FILES, MAX_BESIDE];
  const note = async (to: Map<string, string>, folder: string, names: readonly Dirent[]) => {
    await Promise.all(
      names.map(async ({ name }) => {
        const path = join(folder, name);
        const facts = await stat(path).catch(() => undefined);
        if (facts !== undefined) to.set(path, factsOf(facts));
      }),
    );
  };
  for (let level = [{ folder: root, isOwn: true, isInstalled: false }]; level.length > 0; ) {
    const next: typeof level = [];
    for (const { folder, isOwn, isInstalled } of level) {
      if (left <= 0 || (isInstalled && leftInstalled <= 0)) continue;
      const entries = await readdir(folder, { withFileTypes: true }).catch((error) =>
        isShortage(error) ? undefined : [],
      );
      if (entries === undefined) return undefined;
      const files = entries.filter((one) => one.isFile());
      const most = isInstalled ? Math.min(left, leftInstalled) : left;
      const ofCode = files.filter(({ name }) => isCodeFile(name)).slice(0, most);
      const others = isOwn ? files.filter(({ name }) => isBesideFile(name)).slice(0, leftBeside) : [];
      left -= ofCode.length;
      if (isInstalled) leftInstalled -= ofCode.length;
      leftBeside -= others.length;
      await note(code, folder, ofCode);
      await note(beside, folder, others);
      for (const one of entries) {
        const path = join(folder, one.name);
        if (PASSED_OVER.has(one.name)) continue;
        const below = { folder: path, isInstalled: isInstalled || one.name === INSTALLED };
        if (one.isDirectory()) next.push({ ...below, isOwn: isOwn && mayHoldBeside(one.name) });
        else if (one.isSymbolicLink() && (await leadsOut(path, root, seen)))
          next.push({ folder: path, isOwn: false, isInstalled: false });
      }
    }
    level = next;
  }
  return { code, beside };
}

/** Whether a link leads to a folder beside this one, such as that of a package of the same workspace. @param seen where others led. */
async function leadsOut(link: string, root: string, seen: Set<string>): Promise<boolean> {
  if (seen.size >= MAX_LINKS) return false;
  try {
    const [to, real] = [await realpath(link), await realpath(root)];
    const isApart = !`${to}/`.startsWith(`${real}/`) && !`${real}/`.startsWith(to === '/' ? to : `${to}/`);
    if (!isApart || seen.has(to) || isOfTheSystem(`${to}/`) || !(await stat(to)).isDirectory()) return false;
    seen.add(to);
    return true;
  } catch {
    return false;
  }
}
