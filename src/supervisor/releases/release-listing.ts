import { createHash } from 'node:crypto';
import { type Dirent, realpathSync } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { isShortage } from '../../os/descriptors/shortage.js';
import { isOfTheSystem } from './pinned-paths.js';
import { OF_SERVICES, WRITTEN } from './service-data.js';

/*
 * What lies in the folders of a release, as far as a deployment writes it: its own package, the packages that Node finds
 * from there, also behind links as in workspaces, and what the service reads at its side.
 */

/** What tells a change of each file, by its path. */
export interface ReleaseListing {
  /** What Node, or what else interprets scripts, runs; and what says which code a package is. */
  readonly code: ReadonlyMap<string, string>;
  /** What a service reads, and may write: templates, settings, pages. */
  readonly others: ReadonlyMap<string, string>;
}

/** So many files of each sort are looked at, those nearest to the folders first. */
const MAX_FILES = 20_000;
/** So many names are read at most, of whatever sort: a link may lead anywhere. */
const MAX_NAMES = 200_000;
/** Files of the release's own code are compared by content up to this size; all else by size and time. */
const MAX_READ_BYTES = 256 * 1024;
/** Files that Node, or what else interprets scripts, runs. */
export const CODE: ReadonlySet<string> = new Set([
  ...['.js', '.cjs', '.mjs', '.ts', '.cts', '.mts', '.jsx', '.tsx', '.node', '.wasm'],
  ...['.py', '.rb', '.pl', '.php', '.sh', '.lua', '.jar', '.exs'],
]);
/** What programs write while they run, and what no release is made of. */
const PASSED_OVER = new Set(['.git', '.cache', '.vite', 'tmp', 'temp', 'logs', 'coverage']);
/** Beside the package itself a service keeps what it writes; these are of the release. */
const SETTINGS = /^(package|tsconfig|config|jsconfig)[\w.-]*\.json$/;
const NODE_MODULES = 'node_modules';

interface Folder {
  readonly path: string;
  /** Whether it is one of a package that was installed. */
  readonly isInstalled: boolean;
  /** Whether it lies in the release, and not behind a link. */
  readonly isOwn: boolean;
  /** Whether it is the folder of the release itself. */
  readonly isRoot: boolean;
}

/**
 * Looks at what lies in the folders of a release.
 * @param sinceMs a file that was changed after that is taken for changed: in milliseconds since 1970, for a release that
 *   has run since then.
 * @returns undefined where not all could be looked at just now.
 */
export async function listRelease(
  roots: readonly string[],
  sinceMs = Number.POSITIVE_INFINITY,
): Promise<ReleaseListing | undefined> {
  const listing = { code: new Map<string, string>(), others: new Map<string, string>() };
  const seen = new Set<string>();
  let namesLeft = MAX_NAMES;
  const add = async (path: string, isInstalled: boolean, sort: 'code' | 'others') => {
    const facts = await stat(path).catch(() => undefined);
    if (facts === undefined || !facts.isFile()) return;
    const { size, mtimeMs, ctimeMs, ino } = facts;
    // Package managers link the same file into many folders, which changes it in no other way.
    const isLate = (isInstalled ? mtimeMs : ctimeMs) > sinceMs;
    const isSmall = sort === 'code' && !isInstalled && size <= MAX_READ_BYTES;
    const content = isSmall ? await readFile(path).catch(() => undefined) : undefined;
    const state = content === undefined ? `${size} ${mtimeMs} ${ino}` : hashOf(content);
    listing[sort].set(path, isLate ? 'changed since' : state);
  };
  const behindLinks: Folder[] = [];
  const level = roots.map((path) => ({
    path,
    isInstalled: isInstalled(path),
    isOwn: !isInstalled(path),
    isRoot: true,
  }));
  for (let folders: Folder[] = level; folders.length > 0; ) {
    const next: Folder[] = [];
    for (const folder of folders) {
      const isFull = listing.code.size >= MAX_FILES && !folder.isOwn;
      if (seen.has(folder.path) || namesLeft <= 0 || isFull) continue;
      seen.add(folder.path);
      const entries = await entriesOf(folder.path);
      if (entries === undefined) return undefined;
      namesLeft -= entries.length;
      const files = entries.filter((one) => one.isFile() || one.isSymbolicLink());
      const code = files.filter(isCode).slice(0, Math.max(0, MAX_FILES - listing.code.size));
      const read = files.filter((one) => !isCode(one) && isRead(one, folder));
      await Promise.all([
        ...code.map(({ name }) => add(join(folder.path, name), folder.isInstalled, 'code')),
        ...read
          .slice(0, Math.max(0, MAX_FILES - listing.others.size))
          .map(({ name }) => add(join(folder.path, name), false, 'others')),
      ]);
      for (const one of entries) {
        if (PASSED_OVER.has(one.name)) continue;
        const path = join(folder.path, one.name);
        const within = { isInstalled: folder.isInstalled || one.name === NODE_MODULES, isRoot: false };
        if (one.isDirectory()) {
          const isOwn = folder.isOwn && !within.isInstalled && !OF_SERVICES.has(one.name);
          next.push({ path, ...within, isOwn });
        } else if (one.isSymbolicLink() && !isCode(one)) {
          const target = await folderBehind(path);
          // A package of a workspace is as much the release's own as what links to it.
          if (target !== undefined)
            behindLinks.push({ path: target, isInstalled: isInstalled(target), isRoot: false, isOwn: false });
        }
      }
    }
    folders = next.length > 0 ? next : behindLinks.splice(0);
  }
  return listing;
}

/** Those folders, and all further ones in which Node finds packages for what lies there. */
export function withPackages(folders: readonly string[]): string[] {
  const roots = new Set<string>();
  for (const folder of folders) {
    const at = real(folder);
    // A whole file system is nobody's release, nor is a folder of everybody's programs.
    if (at === undefined || at === '/' || isOfTheSystem(at)) continue;
    roots.add(at);
    for (let above = dirname(at); ; above = dirname(above)) {
      const packages = real(join(above, NODE_MODULES));
      if (packages !== undefined) roots.add(packages);
      if (above === dirname(above)) break;
    }
  }
  return [...roots];
}

function real(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

async function folderBehind(link: string): Promise<string | undefined> {
  try {
    const target = await realpath(link);
    return target !== '/' && (await stat(target)).isDirectory() ? target : undefined;
  } catch {
    // It leads nowhere.
    return undefined;
  }
}

async function entriesOf(folder: string): Promise<Dirent[] | undefined> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    return isShortage(error) ? undefined : [];
  }
}

function isInstalled(path: string): boolean {
  return path.split('/').includes(NODE_MODULES);
}

function isCode({ name }: Dirent): boolean {
  return CODE.has(extname(name)) || name === 'package.json';
}

function isRead(one: Dirent, { isInstalled, isOwn, isRoot }: Folder): boolean {
  if (isInstalled || !isOwn || !one.isFile() || WRITTEN.test(one.name)) return false;
  return !isRoot || extname(one.name) !== '.json' || SETTINGS.test(one.name);
}

function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('base64').slice(0, 22);
}
