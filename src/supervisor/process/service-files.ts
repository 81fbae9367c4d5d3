import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';
import { isShortage } from '../../os/descriptors/shortage.js';
import { calledScript } from '../../os/processes/invocation.js';

/** What a process of a service loads of moult. */
export interface ServiceFiles {
  /** Loaded before the service. */
  readonly preload: string;
  /** The package by which libc is called. */
  readonly koffi: string;
  /** Becomes a program that knows nothing of moult. */
  readonly exec: string;
}

const PRELOAD = 'dist/service/preload.cjs';
const EXEC = 'dist/programs/exec.js';
const MANIFEST = 'package.json';

interface Kept {
  /** Where it belongs below the folder of a copy. */
  readonly place: string;
  readonly fd: number;
}

/**
 * Where the files are that a process of a service loads of moult, whatever happens to the package from which this
 * program was started: by the path by which it was called, where the package is removed; and where there is none, in a
 * copy, made from descriptors that are kept open.
 */
export class ServiceFilesFinder {
  readonly #own = join(
    dirname(realFile(fileURLToPath(import.meta.resolve('#moult/service/preload.cjs')))),
    '../..',
  );
  readonly #copies: string;
  readonly #kept: readonly Kept[];
  readonly #onFailure: (what: string) => void;

  /**
   * @param folder private, for a copy where one is needed.
   * @param onFailure is told where they are nowhere, and no copy can be made: what is started then cannot work.
   */
  constructor(folder: string, onFailure: (what: string) => void) {
    this.#onFailure = onFailure;
    this.#copies = join(folder, 'program');
    this.#kept = kept(this.#own);
  }

  /** Where they are now. */
  find(): ServiceFiles {
    try {
      return reserve.use(() => this.#found());
    } catch (error) {
      // Nothing can be said of them without a descriptor; whether it starts is seen at the start.
      if (isShortage(error)) return this.#asBefore();
      throw error;
    }
  }

  #found(): ServiceFiles {
    const called = packageOf(calledScript());
    return (
      filesIn(this.#own, () => createRequire(import.meta.url).resolve('koffi')) ??
      (called === undefined ? undefined : filesIn(called)) ??
      this.#copy()
    );
  }

  #asBefore(): ServiceFiles {
    const koffi = join(this.#own, 'node_modules/koffi');
    return { preload: join(this.#own, PRELOAD), koffi, exec: join(this.#own, EXEC) };
  }

  /** Lets go of what is kept. */
  close(): void {
    for (const { fd } of this.#kept) closeSync(fd);
  }

  #copy(): ServiceFiles {
    const files = () => filesIn(this.#copies, () => join(this.#copies, 'node_modules/koffi'));
    const there = files();
    if (there !== undefined) return there;
    try {
      for (const { place, fd } of this.#kept) {
        const path = join(this.#copies, place);
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        copyFileSync(`/proc/self/fd/${fd}`, path);
      }
      const made = files();
      if (made !== undefined) return made;
    } catch {
      // A part of it is worth nothing.
      rmSync(this.#copies, { recursive: true, force: true });
    }
    this.#onFailure(
      `the moult from which this supervisor was started is gone (${this.#own}), none is at ${calledScript()}, and no copy could be made in ${this.#copies}: install it again`,
    );
    return this.#asBefore();
  }
}

/**
 * @param findKoffi where it is not found as any package that one there needs.
 * @throws Error where that cannot be seen for want of descriptors.
 */
function filesIn(folder: string, findKoffi?: () => string): ServiceFiles | undefined {
  try {
    // One that it loads later may be missing too.
    loadedBy(folder, PRELOAD);
    const found = findKoffi?.() ?? createRequire(join(folder, MANIFEST)).resolve('koffi');
    if (!existsSync(found)) return undefined;
    return { preload: join(folder, PRELOAD), koffi: realpathSync(found), exec: join(folder, EXEC) };
  } catch (error) {
    if (isShortage(error)) throw error;
    return undefined;
  }
}

/** The folder of the package to which a script belongs. */
function packageOf(script: string): string | undefined {
  try {
    // dist/cli/main.js, perhaps behind a link in node_modules/.bin.
    const folder = join(dirname(realpathSync(script)), '../..');
    return existsSync(join(folder, MANIFEST)) ? folder : undefined;
  } catch {
    return undefined;
  }
}

// Where one cannot be opened there is no copy later; the others would be of no use.
function kept(folder: string): Kept[] {
  const open: Kept[] = [];
  try {
    const places = [MANIFEST, ...loadedBy(folder, PRELOAD), ...loadedBy(folder, EXEC)];
    for (const place of places) open.push({ place, fd: openSync(join(folder, place), 'r') });
    for (const path of koffiFiles(folder)) {
      const below = path.slice(path.lastIndexOf('/node_modules/') + 1);
      open.push({ place: below, fd: openSync(path, 'r') });
    }
    return open;
  } catch {
    for (const { fd } of open) closeSync(fd);
    return [];
  }
}

/**
 * A file of the package, and those of the package that it loads.
 * @throws Error where one is missing.
 */
export function loadedBy(folder: string, file: string, found = new Set<string>()): Set<string> {
  found.add(file);
  const text = readFileSync(join(folder, file), 'utf8');
  for (const [, name = ''] of text.matchAll(/(?:\bfrom|\bimport|\brequire\() ?["'](\.{1,2}\/[^"']+)["']/g)) {
    const place = join(dirname(file), name);
    if (!found.has(place)) loadedBy(folder, place, found);
  }
  return found;
}

// What this process itself has loaded of it, with what says how that is loaded.
function koffiFiles(folder: string): string[] {
  const require = createRequire(join(folder, MANIFEST));
  require('koffi');
  const loaded = Object.keys(require.cache).filter((path) => /\/node_modules\/(koffi|@koromix)\//.test(path));
  const manifests = loaded.flatMap((path) => {
    const [, package_] = /^(.*\/node_modules\/(?:koffi|@koromix\/[^/]+))\//.exec(path) ?? [];
    return package_ === undefined ? [] : [join(package_, MANIFEST)];
  });
  return [...new Set([...loaded, ...manifests])];
}

// Yarn's Plug'n'Play gives paths that only a process with its hooks can read, and the preload comes before them.
function realFile(path: string): string {
  if (process.versions.pnp === undefined) return path;
  const pnp = createRequire(import.meta.url)('pnpapi') as { resolveVirtual?(path: string): string | null };
  return pnp.resolveVirtual?.(path) ?? path;
}
