import { statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import { IgnoredPaths } from './ignored-paths.js';
import type { NodemonSettings } from './nodemon-settings.js';

const ENDINGS = ['js', 'mjs', 'cjs', 'jsx', 'ts', 'mts', 'cts', 'tsx', 'json'];
/** A save may be several events: a new file in place of the old one, a formatter after it. */
const SETTLE_MS = 50;

/** What is told of the files that are watched. */
export interface SourceEvents {
  /** A file has changed; told once for changes in one breath. */
  changed(path: string): void;
  /** Something cannot be watched; all else is. The same failure is told once. */
  failed(error: Error): void;
}

/** Watches the sources of a service. */
export class SourceWatch {
  /** Settles when all that is there is watched. */
  readonly ready: Promise<void>;
  readonly #watcher: FSWatcher;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param folder the root of the package.
   * @param extra further paths.
   */
  constructor(
    folder: string,
    extra: readonly string[],
    settings: NodemonSettings,
    { changed, failed }: SourceEvents,
  ) {
    const ignored = new IgnoredPaths(folder, settings.ignore);
    const endings = new Set((settings.ext.length > 0 ? settings.ext : ENDINGS).map((one) => `.${one}`));
    const named = settings.watch.length > 0 ? settings.watch.map((one) => resolve(folder, one)) : [folder];
    this.#watcher = watch([...named, ...extra], {
      ignoreInitial: true,
      ignored: (path, stats) => {
        const isFolder = stats?.isDirectory() ?? isFolderAt(path);
        if (!named.includes(path) && !extra.includes(path) && ignored.has(path, isFolder)) return true;
        return !isFolder && !extra.includes(path) && !named.includes(path) && !endings.has(extname(path));
      },
    });
    this.#watcher.on('all', (event, path) => {
      if (event === 'addDir' || event === 'unlinkDir') return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => changed(path), SETTLE_MS);
    });
    const told = new Set<string>();
    this.#watcher.on('error', (cause) => {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      const kind = (error as NodeJS.ErrnoException).code ?? error.message;
      // A link that leads round in a circle leads to nothing that could be watched.
      if (!told.has(kind) && kind !== 'ELOOP') failed(error);
      told.add(kind);
    });
    this.ready = new Promise((done) => {
      this.#watcher.once('ready', () => done());
    });
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#watcher.close();
  }
}

// A link that leads round in a circle is none.
function isFolderAt(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    return false;
  }
}
