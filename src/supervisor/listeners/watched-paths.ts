import { type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/**
 * Tells which listener a change in a folder may concern. The kernel tells of a removal within a fraction of a
 * millisecond, where it has watches left. What one change costs does not depend on how many paths there are: a service
 * that ends removes all of its paths at once.
 */
export class WatchedPaths {
  readonly #changed: (listener: string) => void;
  readonly #pathsOf = new Map<string, readonly string[]>();
  /** The listeners of each path, by its folder and its name in that. */
  readonly #listeners = new Map<string, Map<string, Set<string>>>();
  readonly #watchers = new Map<string, { readonly watcher: FSWatcher; readonly identity: string }>();

  /** @param changed is called for each listener with a path that something happened to. */
  constructor(changed: (listener: string) => void) {
    this.#changed = changed;
  }

  /** The paths of this listener are these from now on. */
  set(listener: string, paths: readonly string[]): void {
    const before = this.#pathsOf.get(listener) ?? [];
    for (const path of before) this.#at(path)?.delete(listener);
    if (paths.length === 0) this.#pathsOf.delete(listener);
    else this.#pathsOf.set(listener, paths);
    for (const path of paths) this.#add(path, listener);
    for (const path of before) this.#tidy(path);
    for (const folder of new Set(paths.map(dirname))) this.#watch(folder);
  }

  /** Watches folders that were made anew, and those that could not be watched before. */
  renew(): void {
    for (const folder of this.#listeners.keys()) this.#watch(folder);
  }

  /** Watches none any more. */
  close(): void {
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.#listeners.clear();
    this.#pathsOf.clear();
  }

  #at(path: string): Set<string> | undefined {
    return this.#listeners.get(dirname(path))?.get(basename(path));
  }

  #add(path: string, listener: string): void {
    const folder = dirname(path);
    const names = this.#listeners.get(folder) ?? new Map<string, Set<string>>();
    this.#listeners.set(folder, names);
    const name = basename(path);
    names.set(name, (names.get(name) ?? new Set()).add(listener));
  }

  #tidy(path: string): void {
    const folder = dirname(path);
    const names = this.#listeners.get(folder);
    if (names?.get(basename(path))?.size === 0) names.delete(basename(path));
    if (names?.size !== 0) return;
    this.#listeners.delete(folder);
    this.#watchers.get(folder)?.watcher.close();
    this.#watchers.delete(folder);
  }

  #watch(folder: string): void {
    const known = this.#watchers.get(folder);
    const identity = identityOf(folder);
    if (known?.identity === identity) return;
    // Where it was made anew another one is to be watched.
    known?.watcher.close();
    this.#watchers.delete(folder);
    try {
      const watcher = watch(folder, { persistent: false });
      this.#watchers.set(folder, { watcher, identity });
      watcher.on('change', (_kind, file) => this.#tell(folder, file === null ? null : String(file)));
      // It is gone: looked at from time to time all the same.
      watcher.on('error', () => {});
    } catch {
      // As above.
    }
  }

  #tell(folder: string, name: string | null): void {
    const names = this.#listeners.get(folder);
    if (names === undefined) return;
    const told = name === null ? [...names.values()] : [names.get(name) ?? []];
    for (const listener of told.flatMap((listeners) => [...listeners])) this.#changed(listener);
  }
}

function identityOf(folder: string): string {
  try {
    const { dev, ino } = statSync(folder);
    return `${dev}-${ino}`;
  } catch {
    return '';
  }
}
