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
/** How many are remembered. */
const MAX_LEFT = 100;

// As they are without any hook.
const { rmSync, rmdirSync } = fs;

/** Watches from now on for calls that remove whole folders, or make them. */
function keepFolders(kept: Kept): void {
  hook('rm', (path, options) => options?.recursive === true && mayKeep(path, kept) && empty(path, kept));
  hook(
    'rmdir',
    (path, options) => mayKeep(path, kept) && (options?.recursive === true ? empty : hasOnly)(path, kept),
  );
  hook('mkdir', (path) => left.delete(path) && fs.existsSync(path));
}

/**
 * Removes a folder but for such paths, and the folders on the way to them.
 * @returns true: whatever becomes of it, nothing more is to be done.
 */
function empty(folder: string, kept: Kept): true {
  emptied(folder, kept);
  return true;
}

/** @returns whether anything stays. */
function emptied(folder: string, kept: Kept): boolean {
  let isKept = false;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const one = join(folder, entry.name);
    if (entry.isDirectory() && mayKeep(one, kept)) isKept = emptied(one, kept) || isKept;
    else if (entry.isSocket() && stays(one, kept)) isKept = true;
    else rmSync(one, { recursive: true, force: true });
  }
  if (isKept) leave(folder);
  else rmdirSync(folder);
  return isKept;
}

/** Whether nothing is in this folder but such paths: then it stays for them. */
function hasOnly(folder: string, kept: Kept): boolean {
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  const isAll = entries.every((entry) => entry.isSocket() && stays(join(folder, entry.name), kept));
  if (isAll) leave(folder);
  return isAll;
}

function leave(folder: string): void {
  left.add(folder);
  const [oldest] = left;
  if (left.size > MAX_LEFT && oldest !== undefined) left.delete(oldest);
}

function stays(path: string, kept: Kept): boolean {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && kept.stays(stat, () => rmSync(path, { force: true }));
}

/** Whether this is a folder, and no link to one, and there is any socket below it. What is wrong with it the call itself says. */
function mayKeep(folder: string, kept: Kept): boolean {
  if (!kept.areAny()) return false;
  try {
    return fs.lstatSync(folder).isDirectory() && hasSocket(folder);
  } catch {
    return false;
  }
}

function hasSocket(folder: string): boolean {
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .some((entry) => entry.isSocket() || (entry.isDirectory() && hasSocket(join(folder, entry.name))));
}

/** @param instead does it in place of the call, which succeeds then; false for the call itself. */
function hook(name: string, instead: (path: string, options: Options) => boolean): void {
  const sync = fs as unknown as Record<string, Call>;
  const promises = fs.promises as unknown as Record<string, Call>;
  const original = sync[name];
  const originalSync = sync[`${name}Sync`];
  const originalPromise = promises[name];
  const isDone = ([path, options]: readonly unknown[]): boolean => {
    const whole = pathOf(path);
    return (
      whole !== undefined && instead(whole, typeof options === 'object' ? (options as Options) : undefined)
    );
  };
  if (originalSync !== undefined)
    replace(sync, `${name}Sync`, (...args) => (isDone(args) ? undefined : originalSync.apply(fs, args)));
  if (original !== undefined)
    replace(sync, name, (...args) => {
      const then = args.at(-1);
      if (typeof then !== 'function') return original.apply(fs, args);
      const done = outcome(() => isDone(args));
      if (done === false) return original.apply(fs, args);
      process.nextTick(then, done === true ? null : done);
      return undefined;
    });
  if (originalPromise !== undefined)
    replace(promises, name, async (...args) =>
      isDone(args) ? undefined : await originalPromise.apply(fs.promises, args),
    );
}

/** What it returns, or the error that it throws. */
function outcome(what: () => boolean): unknown {
  try {
    return what();
  } catch (error) {
    return error;
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
