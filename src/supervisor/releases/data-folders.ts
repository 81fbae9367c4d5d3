import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { isCodeFile } from './code-files.js';

/*
 * Folders known as data by their names lie at the top of a package, or in what it serves: `data`, `public/uploads`. Elsewhere the
 * same names are modules' (`src/db`, `dist/uploads`), and at the top some are both. Whoever takes code for data starts
 * overwritten code from a copy; whoever takes data for code makes two truths of it. So names decide only where there is no code.
 */

/** Folders of these names are part of a release, whatever is in them. */
const OF_RELEASES = new Set([
  ...['node_modules', 'dist', 'build', 'out', 'views', 'templates', 'locales'],
  ...['.next', '.nuxt', '.output', '.svelte-kit', '.astro'],
]);
/** The same, and clients get their files: code there is for browsers, and what services are sent lies there, too. */
const SERVED = new Set(['public', 'static', 'assets']);
/** Folders that tools write. */
const OF_TOOLS = new Set(['.git', '.cache', '.vite']);
/** Folders in which a service puts what it gets, code or not. */
const OF_CLIENTS = new Set(['uploads', 'downloads', 'backups', 'sessions', 'tmp', 'temp', 'coverage']);
/** Folders of data, and of modules about it. */
const OF_SERVICES = new Set([
  ...['data', 'db', 'database', 'storage', 'logs', 'log', 'var', 'run', 'cache', ...OF_CLIENTS],
]);
/** Those of them that programs such as Node-RED make a package of. */
const INSTALLED_INTO = new Set(['data', 'storage', 'var']);
/** What programs read, and services hardly write. */
const OF_PROGRAMS = new Set([
  ...['.sql', '.graphql', '.gql', '.proto', '.prisma', '.vue', '.svelte', '.astro'],
  ...['.ejs', '.hbs', '.handlebars', '.pug', '.njk', '.mustache', '.liquid', '.eta', '.mjml'],
]);
/** What modules load, and services write, too. */
const OF_BOTH = new Set(['.json', '.yaml', '.yml', '.toml']);
/** In how many entries of a folder code is looked for: data may be many files. */
const MAX_ENTRIES = 10_000;

/** What a folder is, by where it lies. */
export interface ReleasePlace {
  /** `whole`: of a release, whatever is in it; `served`: the same, and clients get it; `code`: below the top, with code; `data`: known as data, with code, too. */
  readonly kind: 'plain' | 'whole' | 'served' | 'code' | 'data';
  /** Whether it is the folder of a package itself. */
  readonly isTop: boolean;
}

/** Whether a folder is part of a release, whatever is in it. */
export function isWhole({ kind }: ReleasePlace): boolean {
  return kind === 'whole' || kind === 'served';
}

/** Whether what lies at a path is made by a build, so that no change of it is worth being kept. */
export function isBuilt(path: string): boolean {
  return path.split('/').some((name) => OF_RELEASES.has(name) || SERVED.has(name));
}

/** Whether a file makes the folder in which it lies code. */
export function makesCode(name: string, { kind }: ReleasePlace): boolean {
  return isOfPrograms(name) || ((kind === 'whole' || kind === 'code') && OF_BOTH.has(extname(name)));
}

/**
 * What a folder of a release is.
 * @param at its path.
 * @param above what the folder is in which it lies.
 * @returns undefined where the service writes it.
 */
export async function placeOf(at: string, above: ReleasePlace): Promise<ReleasePlace | undefined> {
  const name = basename(at);
  const { kind, isTop } = above;
  if (OF_TOOLS.has(name) || (name === 'cache' && basename(dirname(at)).startsWith('.'))) return undefined;
  const place = (one: ReleasePlace['kind']): ReleasePlace => ({ kind: one, isTop: false });
  if ((kind === 'plain' || kind === 'code') && !isTop && (await holds(at, ['package.json'])))
    return { kind: 'plain', isTop: true };
  if (OF_SERVICES.has(name)) return ofService(at, above);
  if (kind !== 'plain' && kind !== 'code') return place(kind);
  if (SERVED.has(name)) return place('served');
  if (OF_RELEASES.has(name)) return place('whole');
  return place(kind === 'code' || (isTop && (await hasCode(at, isOfPrograms))) ? 'code' : 'plain');
}

async function ofService(at: string, { kind }: ReleasePlace): Promise<ReleasePlace | undefined> {
  const name = basename(at);
  if (kind === 'whole' || kind === 'code') {
    const counts = (file: string) =>
      isOfPrograms(file) || (!OF_CLIENTS.has(name) && OF_BOTH.has(extname(file)));
    return (await hasCode(at, counts)) ? { kind, isTop: false } : undefined;
  }
  if (OF_CLIENTS.has(name)) return undefined;
  // A service that installs into its data has code there that is no part of its release.
  if (INSTALLED_INTO.has(name) && (await holds(at, ['package.json', 'node_modules']))) return undefined;
  return (await hasCode(at, isOfPrograms)) ? { kind: 'data', isTop: false } : undefined;
}

async function holds(folder: string, names: readonly string[]): Promise<boolean> {
  return (await entriesOf(folder)).some(({ name }) => names.includes(name));
}

function isOfPrograms(name: string): boolean {
  return isCodeFile(name) || OF_PROGRAMS.has(extname(name));
}

/** Whether a folder has such files at any depth, as far as it is looked at: what is near to it first. */
async function hasCode(root: string, counts: (name: string) => boolean): Promise<boolean> {
  let left = MAX_ENTRIES;
  for (let level = [root]; level.length > 0 && left > 0; ) {
    const next: string[] = [];
    for (const folder of level) {
      const entries = await entriesOf(folder);
      left -= entries.length;
      if (entries.some((one) => !one.isDirectory() && counts(one.name))) return true;
      if (left <= 0) return false;
      const isLookedInto = ({ name }: Dirent) => name !== 'node_modules' && !OF_TOOLS.has(name);
      for (const one of entries)
        if (one.isDirectory() && isLookedInto(one)) next.push(join(folder, one.name));
    }
    level = next;
  }
  return false;
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch(() => []);
}
