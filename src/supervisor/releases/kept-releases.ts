import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import type { Journal } from '../journal/journal.js';
import type { KeepOptions } from '../options.js';
import { isBuilt } from './data-folders.js';
import type { Release } from './release.js';
import { changedIn, copyRelease, type Kept, keptAt, linkNewlyShared, writtenIn } from './release-copy.js';
import { changes, folderOf, named, releaseFiles } from './release-files.js';
import { changedSince, type Scan, scanRelease } from './release-scan.js';

/** A generation, as far as its release is kept. */
interface Started {
  readonly number: number;
  readonly release: Release;
  /** Resolves when it has ended. */
  readonly exited: Promise<unknown>;
}

/** Why a release is wanted as it was: a rollback, or one more process of what serves. */
type Wanted = 'go back' | 'start again';

/** What keeping releases takes. */
export interface KeptReleasesParts {
  /** Null where none are kept. */
  readonly options: () => KeepOptions | null;
  /** Of the service. */
  readonly name: string;
  /** The releases of the generations that live, and those that a crash or a rollback would start. */
  readonly needed: () => readonly Release[];
  readonly log: Logger;
  /** Says to the service manager, too, what the operator should know. */
  readonly tell: (what: string) => void;
}

/**
 * Copies of releases, beside their folders, so that one which is written over can be gone back to. Copying goes on
 * beside a restart, and never fails one.
 */
export class KeptReleases {
  readonly #parts: KeptReleasesParts;
  readonly #copies = new WeakMap<Release, Promise<string | undefined>>();
  /** Where those lie that are there. */
  readonly #at = new WeakMap<Release, string>();
  readonly #relocated = new WeakMap<Release, Release>();
  readonly #roots = new Set<string>();
  readonly #toldOf = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: KeptReleasesParts) {
    this.#parts = parts;
  }

  /** Whether releases are kept. */
  get isOn(): boolean {
    return this.#parts.options() !== null;
  }

  /** A generation of this release has been started. @param journal notes where its copy is. */
  keep({ number: generation, release, exited }: Started, journal: Journal): void {
    const { log, tell } = this.#parts;
    const options = this.#parts.options();
    if (options === null) return;
    // What was needed until then may be removed.
    exited.then(() => this.#inTurn(() => this.#prune(options.count))).catch(() => {});
    const known = this.#copies.get(release);
    const copy =
      known ??
      this.#inTurn(() => this.#copy(folderOf(release), options)).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        const what = `the release of generation ${generation} was not copied, so a rollback to it is impossible once it is overwritten: ${why}`;
        log.warn(what);
        tell(what);
        return undefined;
      });
    this.#copies.set(release, copy);
    void copy.then((at) => {
      if (at === undefined) return;
      this.#at.set(release, at);
      journal.write({ event: 'kept', generation, copy: at });
    });
  }

  /** An earlier supervisor has copied this release to there. */
  learn(release: Release, copy: string): void {
    this.#at.set(release, copy);
    this.#copies.set(release, Promise.resolve(copy));
  }

  /** Whether there is a copy of a release, by which every change of it is noticed. */
  has(release: Release): boolean {
    return this.#at.has(release);
  }

  /**
   * A release as it was when it started: itself, or its copy where its files were changed since.
   * @param what is to be done with it, for the error.
   * @throws MOULT_NOTHING_TO_ROLL_BACK, or MOULT_RELEASE_CHANGED for one to start again, where there is neither.
   */
  async asItWas(release: Release, what: Wanted = 'go back'): Promise<Release> {
    // One that is still being made is not waited for: nobody may serve meanwhile.
    const copy = this.#at.get(release);
    const kept = copy === undefined ? undefined : await keptAt(copy);
    // The copy tells more, and also after another supervisor has noted what the folder held.
    const isBeside = kept !== undefined && folderOf(release) === kept.root;
    const changed = isBeside ? await changedSince(kept.root, kept.states) : await changes(release);
    if (changed.length === 0) return release;
    if (copy === undefined || kept === undefined) throw writtenOver(release, changed, this.#why(), what);
    const broken = await changedIn(copy, kept);
    if (broken.length > 0)
      throw writtenOver(release, changed, `, and so was its copy (${named(broken)})`, what);
    await linkNewlyShared(copy, kept);
    const relocated = this.#relocated.get(release) ?? inCopy(release, kept.root, copy);
    this.#relocated.set(release, relocated);
    this.#parts.log.warn(
      `the files of ${release.label} were changed since it started (${named(changed)}): its copy in ${copy} starts instead`,
    );
    return relocated;
  }

  #why(): string {
    const options = this.#parts.options();
    if (options === null) return ', and there is no copy of it (moult run --keep-releases keeps copies)';
    return `, and there is no copy of it (--keep-releases ${options.count})`;
  }

  // One at a time: the next is compared with the one before.
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => {});
    return done;
  }

  #prefix(root: string): string {
    return `.${basename(root)}.moult-${this.#parts.name}-`;
  }

  async #copy(root: string, options: KeepOptions): Promise<string | undefined> {
    const parent = dirname(root);
    if (parent === root) throw new Error(`its folder is ${root}`);
    const prefix = this.#prefix(root);
    this.#roots.add(root);
    const there = await copiesIn(parent, prefix);
    // It runs from a copy by now.
    if (await keptAt(root)) return root;
    const scan = await scanRelease(root, options.shared);
    if (scan === undefined) throw new Error(`${root} has too many files for a release`);
    const last = there.at(-1);
    const kept = last === undefined ? undefined : await keptAt(last);
    if (last !== undefined && kept?.root === root && isSame(kept, scan)) return last;
    const copy = join(parent, `${prefix}${numberOf(last, prefix) + 1}`);
    const part = `${copy}.part`;
    try {
      await rm(part, { recursive: true, force: true });
      const before = last === undefined || kept === undefined ? undefined : { at: last, kept };
      await copyRelease(root, { at: part, later: copy }, scan, before, options.maxBytes);
      const after = await scanRelease(root, options.shared);
      if (after === undefined || !isSame({ states: statesOf(scan) }, after))
        throw new Error('its files were changed while they were copied');
      await rename(part, copy);
    } catch (error) {
      await rm(part, { recursive: true, force: true }).catch(() => {});
      throw error;
    }
    await this.#prune(options.count, copy);
    return copy;
  }

  // What a broken release is copied for must not cost the copy of the one to which it is undone.
  async #prune(count: number, made?: string): Promise<void> {
    for (const root of this.#roots) {
      const all = await copiesIn(dirname(root), this.#prefix(root)).catch(() => []);
      const spare = all.filter((copy) => copy !== made && !this.#isNeeded(copy));
      for (const copy of spare.slice(0, Math.max(0, all.length - count))) await this.#remove(copy);
    }
  }

  #isNeeded(copy: string): boolean {
    return this.#parts
      .needed()
      .some(
        (one) =>
          this.#at.get(one) === copy || [one.command, ...one.args, one.cwd].some((path) => isIn(path, copy)),
      );
  }

  async #remove(copy: string): Promise<void> {
    const kept = await keptAt(copy);
    if (kept === undefined || this.#toldOf.has(copy)) return;
    const changed = await changedIn(copy, kept);
    const written = [
      ...(await writtenIn(copy, kept)),
      ...changed.filter((path) => !isBuilt(path.slice(copy.length))),
    ];
    if (written.length === 0) {
      await rm(copy, { recursive: true, force: true });
      return;
    }
    this.#toldOf.add(copy);
    this.#parts.log.warn(
      `${copy} is no longer needed but was not deleted: a service wrote ${named(written)} there; move it, or name it with --shared-path`,
    );
  }
}

function writtenOver({ label }: Release, changed: readonly string[], why: string, what: Wanted): MoultError {
  const isAgain = what === 'start again';
  const which = isAgain ? 'the release' : 'the release before';
  const remedy = isAgain
    ? 'moult restart replaces all processes with what the files contain now'
    : 'deploy that release again, and restart';
  return new MoultError(
    isAgain ? 'MOULT_RELEASE_CHANGED' : 'MOULT_NOTHING_TO_ROLL_BACK',
    `the files of ${which} were changed since it started (${named(changed)})${why}, so starting ${label} would start other code: ${remedy}`,
    { serving: 'unchanged' },
  );
}

/** The same release, started from its copy. */
function inCopy(release: Release, root: string, copy: string): Release {
  const map = (path: string) => (isIn(path, root) ? copy + path.slice(root.length) : path);
  const command = map(release.command);
  const args = release.args.map(map);
  const cwd = map(release.cwd);
  const env = { ...release.env, PWD: cwd };
  const files = releaseFiles(release.isDirect ? args : [command, ...args], cwd);
  const { argv0 = release.command, label } = release;
  return { ...release, command, argv0: map(argv0), args, cwd, env, files, label: map(label) };
}

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function statesOf({ copied }: Scan): Record<string, string> {
  return Object.fromEntries(copied.map(({ path, state }) => [path, state]));
}

function isSame({ states }: Pick<Kept, 'states'>, scan: Scan): boolean {
  const now = statesOf(scan);
  const paths = Object.keys(now);
  return paths.length === Object.keys(states).length && paths.every((path) => states[path] === now[path]);
}

/** The copies of a release's folder, the oldest first. */
async function copiesIn(parent: string, prefix: string): Promise<string[]> {
  const names = await readdir(parent);
  const ours = names.filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)));
  return ours.sort((a, b) => numberOf(a, prefix) - numberOf(b, prefix)).map((name) => join(parent, name));
}

function numberOf(copy: string | undefined, prefix: string): number {
  return copy === undefined ? 0 : Number(basename(copy).slice(prefix.length));
}
