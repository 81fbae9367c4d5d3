import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import ignore, { type Ignore } from 'ignore';

/** Never the source of a service. */
const ALWAYS = ['node_modules', '.git'];

/** Says which paths are not watched: what the `.gitignore` of any folder above or below names, and further patterns. */
export class IgnoredPaths {
  readonly #root: string;
  readonly #top: string;
  readonly #own: Ignore;
  readonly #files = new Map<string, Ignore | undefined>();

  /** @param root the folder that is watched. @param patterns as in .gitignore, from there. */
  constructor(root: string, patterns: readonly string[]) {
    this.#root = root;
    this.#top = topOf(root);
    this.#own = ignore().add([...patterns]);
  }

  /** Whether a path is left out. @param isFolder whether it is one. */
  has(path: string, isFolder: boolean): boolean {
    const within = relative(this.#root, path);
    const own = within === '' || within.startsWith('..') ? '' : within;
    const parts = relative(this.#top, path).split(sep);
    if (parts.some((part) => ALWAYS.includes(part))) return true;
    const mark = isFolder ? '/' : '';
    if (own !== '' && this.#own.ignores(`${own}${mark}`)) return true;
    for (let folder = dirname(path); folder.startsWith(this.#top); folder = dirname(folder)) {
      const named = relative(folder, path);
      if (named !== '' && this.#of(folder)?.ignores(`${named}${mark}`) === true) return true;
      if (folder === this.#top || folder === dirname(folder)) break;
    }
    return false;
  }

  #of(folder: string): Ignore | undefined {
    if (!this.#files.has(folder)) {
      this.#files.set(folder, namedBy(join(folder, '.gitignore')));
    }
    return this.#files.get(folder);
  }
}

// One that is a folder, or that may not be read, names nothing.
function namedBy(file: string): Ignore | undefined {
  try {
    return ignore().add(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The root of the repository: its .gitignore counts for all that is in it. */
function topOf(root: string): string {
  for (let folder = root; ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.git'))) return folder;
    if (folder === dirname(folder)) return root;
  }
}
