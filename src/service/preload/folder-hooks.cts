/*
 * Keeps the paths of Unix listeners from a service that removes the folder in which they are, and makes it anew: all
 * else in the folder is removed, and making a folder that is there only for such a path does nothing. CommonJS and without any
 * import of moult's own, as path-hooks.cts.
 */
const fs: typeof import('node:fs') = require('node:fs');
const { join, resolve }: typeof import('node:path') = require('node:path');
const { fileURLToPath }: typeof import('node:url') = require('node:url');

type Call = (...args: unknown[]) => unknown;
type Options = { readonly recursive?: boolean } | undefined;
type Stats = import('node:fs').Stats;

/** What these hooks need to know of single paths. */
interface Kept {
  /** Whether any path is kept. */
  areAny(): boolean;
  /** Whether this file stays although the service removes it. */
  stays(stat: Stats, remove: () => void): boolean;
}

/** Folders that were removed but for such paths; those that the service has not made anew. */
const left = new Set<string>();
/** So many are remembered. */
const MAX_LEFT = 100;

/** Watches from now on for calls that remove whole folders, or make them. */
function keepFolders(kept: Kept): void {
  const removeSync = fs.rmSync;
  const remove = (path: string): boolean => {
    const isKept = keeps(path, kept);
    if (isKept) empty(path, kept, removeSync);
    return isKept;
  };

  hook('rm', (path, options) =>
    options?.recursive === true && remove(path) ? { value: undefined } : undefined,
  );
  hook('rmdir', (path, options) =>
    (options?.recursive === true ? remove(path) : hasOnly(path, kept, removeSync))
      ? { value: undefined }
      : undefined,
  );
  hook('mkdir', (path) => {
    if (!left.delete(path) || !fs.existsSync(path)) return undefined;
    return { value: undefined };
  });
}

// The folder, those on the way to such a path, and the path itself stay.
function empty(path: string, kept: Kept, remove: typeof fs.rmSync): void {
  for (const entry of fs.readdirSync(path, { withFileTypes: true })) {
    const one = join(path, entry.name);
    if (entry.isDirectory() && keeps(one, kept)) empty(one, kept, remove);
    else if (!entry.isSocket() || !stays(one, kept, remove)) remove(one, { recursive: true, force: true });
  }
  leave(path);
}

/** Whether nothing is in this folder but such paths. */
function hasOnly(folder: string, kept: Kept, remove: typeof fs.rmSync): boolean {
  if (!keeps(folder, kept)) return false;
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  const isAll = entries.every((entry) => entry.isSocket() && stays(join(folder, entry.name), kept, remove));
  if (isAll) leave(folder);
  return isAll;
}

function leave(folder: string): void {
  left.add(folder);
  const [oldest] = left;
  if (left.size > MAX_LEFT && oldest !== undefined) left.delete(oldest);
}

function stays(path: string, kept: Kept, remove: typeof fs.rmSync): boolean {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && kept.stays(stat, () => remove(path, { force: true }));
}

/** Whether a path below this folder may have to stay. */
function keeps(folder: string, kept: Kept): boolean {
  if (!kept.areAny()) return false;
  try {
    return fs
      .readdirSync(folder, { withFileTypes: true })
      .some((entry) => entry.isSocket() || (entry.isDirectory() && keeps(join(folder, entry.name), kept)));
  } catch {
    // What is wrong with it the call itself says.
    return false;
  }
}

function hook(
  name: string,
  instead: (path: string, options: Options) => { value: unknown } | undefined,
): void {
  const sync = fs as unknown as Record<string, Call>;
  const promises = fs.promises as unknown as Record<string, Call>;
  const original = sync[name];
  const originalSync = sync[`${name}Sync`];
  const originalPromise = promises[name];
  const decide = (args: readonly unknown[]): { value: unknown } | undefined => {
    const path = pathOf(args[0]);
    const options = args[1];
    return path === undefined
      ? undefined
      : instead(path, typeof options === 'object' ? (options as Options) : undefined);
  };
  if (originalSync !== undefined)
    replace(sync, `${name}Sync`, (...args) => {
      const done = decide(args);
      return done === undefined ? originalSync.apply(fs, args) : done.value;
    });
  if (original !== undefined)
    replace(sync, name, (...args) => {
      const then = args.at(-1);
      const done = typeof then === 'function' ? settled(() => decide(args)) : undefined;
      if (done === undefined) return original.apply(fs, args);
      process.nextTick(
        then as Call,
        'error' in done ? done.error : null,
        'error' in done ? undefined : done.value,
      );
      return undefined;
    });
  if (originalPromise !== undefined)
    replace(promises, name, async (...args) => {
      const done = decide(args);
      return done === undefined ? await originalPromise.apply(fs.promises, args) : done.value;
    });
}

function settled(
  decide: () => { value: unknown } | undefined,
): { readonly value: unknown } | { readonly error: unknown } | undefined {
  try {
    return decide();
  } catch (error) {
    return { error };
  }
}

function replace(owner: Record<string, Call>, name: string, value: Call): void {
  const was = owner[name];
  Object.defineProperty(value, 'name', { value: name, configurable: true });
  Object.defineProperty(value, 'length', { value: was?.length ?? 1, configurable: true });
  owner[name] = value;
}

function pathOf(value: unknown): string | undefined {
  try {
    if (typeof value === 'string') return resolve(value);
    if (value instanceof URL) return fileURLToPath(value);
    return Buffer.isBuffer(value) ? resolve(value.toString()) : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { keepFolders };
