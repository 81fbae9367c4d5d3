/*
 * Keeps the paths of Unix listeners from a service that removes them before it listens, as very many do to be rid of
 * what an earlier run has left, and from one that ends: the socket behind the path is that of another generation too,
 * whose clients would find nobody. CommonJS and without any import of moult's own, as the preload needs it before the
 * service's first line. What other programs of the tree remove, such as a shell, the supervisor puts back.
 */
const fs: typeof import('node:fs') = require('node:fs');
const { syncBuiltinESMExports }: typeof import('node:module') = require('node:module');
const { join }: typeof import('node:path') = require('node:path');
const folders: { keepFolders(kept: Kept): void } = require('./folder-hooks.cjs');

type Stats = import('node:fs').Stats;
type Kept = {
  areAny(): boolean;
  stays(stat: Stats, remove: () => void): boolean;
};
type Call = (...args: unknown[]) => unknown;
type Decide = import('../../node/path-decision.js', { with: { 'resolution-mode': 'import' }}).Decide;

/** Under which the generation of this process answers, once there is one. */
const DECIDE = Symbol.for('moult.paths.1');
/** A service that insists may have its way: the supervisor puts the path back. */
const MAX_KEPT = 3;

const REMOVES = ['unlink', 'rm'];
const CHANGES = ['chmod', 'chown', 'lchown'];

/**
 * Watches from now on for calls that would remove a kept path, or change who may connect there.
 * @param folder the private folder of the service, in which kept paths have their second names.
 */
function keepPaths(folder: string): void {
  const kept = new Map<string, number>();
  const isKept = (file: string): boolean =>
    fs.lstatSync(join(folder, 'paths', file), { throwIfNoEntry: false }) !== undefined;
  // What to do in place of a call: undefined for the call itself.
  const instead = (
    kind: 'remove' | 'change',
    stat: Stats | undefined,
    call: () => void,
  ): true | undefined => {
    if (stat?.isSocket() !== true) return undefined;
    const file = `${stat.dev}-${stat.ino}`;
    if (!isKept(file)) return undefined;
    const decide = (globalThis as unknown as Record<symbol, Decide | undefined>)[DECIDE];
    const decision = decide?.(kind, file, call) ?? (kind === 'remove' ? 'skip' : 'do');
    if (decision === 'do') return undefined;
    if (kind === 'change') return true;
    const times = (kept.get(file) ?? 0) + 1;
    kept.set(file, times);
    return times > MAX_KEPT ? undefined : true;
  };
  for (const name of REMOVES) hook(name, 'remove', instead);
  for (const name of CHANGES) hook(name, 'change', instead);
  const isSecondName = (from: Stats | undefined, to: Stats | undefined): boolean =>
    from?.isSocket() === true &&
    from.ino === to?.ino &&
    from.dev === to.dev &&
    isKept(`${from.dev}-${from.ino}`);
  hookLink(isSecondName);
  folders.keepFolders({
    areAny: () => fs.existsSync(join(folder, 'paths')) && fs.readdirSync(join(folder, 'paths')).length > 0,
    stays: (stat, remove) => instead('remove', stat, remove) === true,
  });
  syncBuiltinESMExports();
}

type Instead = (kind: 'remove' | 'change', stat: Stats | undefined, call: () => void) => true | undefined;

function hook(name: string, kind: 'remove' | 'change', instead: Instead): void {
  // Of a link the file that it leads to is meant where its mode changes, and the link itself where it is removed.
  const look = kind === 'remove' || name === 'lchown' ? 'lstat' : 'stat';
  const sync = fs as unknown as Record<string, Call>;
  const promises = fs.promises as unknown as Record<string, Call>;
  const original = sync[name];
  const originalSync = sync[`${name}Sync`];
  const originalPromise = promises[name];
  if (originalSync !== undefined)
    replace(sync, `${name}Sync`, (...args) => {
      const stat = looked(() => fs[`${look}Sync`](args[0] as string, { throwIfNoEntry: false }));
      const isDone = instead(kind, stat, () => originalSync.apply(fs, args));
      return isDone ? undefined : originalSync.apply(fs, args);
    });
  if (original !== undefined)
    replace(sync, name, (...args) => {
      const done = args.at(-1);
      if (typeof done !== 'function' || !isPath(args[0])) return original.apply(fs, args);
      fs[look](args[0] as string, (_error, stat) => {
        const isDone = instead(kind, stat, () => original.call(fs, ...args.slice(0, -1), warn));
        if (isDone) done(null);
        else original.apply(fs, args);
      });
      return undefined;
    });
  if (originalPromise !== undefined)
    replace(promises, name, async (...args) => {
      const stat = isPath(args[0])
        ? await fs.promises[look](args[0] as string).catch(() => undefined)
        : undefined;
      const isDone = instead(
        kind,
        stat,
        () => void (originalPromise.apply(fs.promises, args) as Promise<void>).catch(warn),
      );
      if (!isDone) await originalPromise.apply(fs.promises, args);
    });
}

type IsSecondName = (from: Stats | undefined, to: Stats | undefined) => boolean;

/**
 * A service that listens at one path, and gives its socket another name after it has removed that, finds the name there, as
 * the removal was left out: it leads where it should.
 */
function hookLink(isSecondName: IsSecondName): void {
  const sync = fs as unknown as Record<string, Call>;
  const promises = fs.promises as unknown as Record<string, Call>;
  const { link, linkSync } = fs as unknown as Record<'link' | 'linkSync', Call>;
  const { link: linkPromise } = fs.promises as unknown as Record<'link', Call>;
  const isThere = (args: unknown[]): boolean => isSecondName(statOf(args[0]), statOf(args[1]));
  replace(sync, 'linkSync', (...args) => (isThere(args) ? undefined : linkSync.apply(fs, args)));
  replace(sync, 'link', (...args) => {
    const done = args.at(-1);
    if (typeof done !== 'function' || !isThere(args)) return link.apply(fs, args);
    process.nextTick(done as () => void, null);
    return undefined;
  });
  replace(promises, 'link', async (...args) => {
    if (!isThere(args)) await linkPromise.apply(fs.promises, args);
  });
}

function statOf(path: unknown): Stats | undefined {
  return isPath(path) ? looked(() => fs.lstatSync(path as string, { throwIfNoEntry: false })) : undefined;
}

function replace(owner: Record<string, Call>, name: string, value: Call): void {
  const was = owner[name];
  Object.defineProperty(value, 'name', { value: name, configurable: true });
  Object.defineProperty(value, 'length', { value: was?.length ?? 1, configurable: true });
  owner[name] = value;
}

function isPath(value: unknown): boolean {
  return typeof value === 'string' || value instanceof URL || Buffer.isBuffer(value);
}

// What is wrong with a path the call itself says.
function looked(look: () => Stats | undefined): Stats | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function warn(error: unknown): void {
  if (error) process.emitWarning(`put off until this generation served: ${String(error)}`, 'MoultWarning');
}

module.exports = { keepPaths };
