import { linkSync, lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { byMoult, isAnything, socketFile } from './socket-file.js';
import { isAbandoned } from './unix-socket.js';

/** The folder of the links, in the private folder of a service. */
const FOLDER = 'paths';

/**
 * What became of a path that is to lead to a socket.
 * - `there`: it does already
 * - `restored`: it does again
 * - `taken`: something else is there, which is not ours to remove
 * - `lost`: it does not: no name of the socket is left on that file system, or its folder is gone
 */
export type PathOutcome = 'there' | 'restored' | 'taken' | 'lost';

/**
 * Second names of the files of Unix sockets. A socket is bound once, to one file: as long as that has a name
 * anywhere on its file system, a path that somebody removed can be given to it again by link(2). The second name
 * lies in the service's private folder, or where that is on another file system, hidden beside the path.
 */
export class SocketLinks {
  readonly #folder: string;

  /** @param folder the private folder of the service. */
  constructor(folder: string) {
    this.#folder = join(folder, FOLDER);
  }

  /**
   * Gives the socket at a path its second name.
   * @returns what names its file; undefined where there is no socket.
   */
  keep(path: string): string | undefined {
    const file = socketFile(path);
    if (file !== undefined && !this.isKept(file)) this.#add(file, resolve(path));
    return file;
  }

  /** Whether this file has its second name. */
  isKept(file: string): boolean {
    return socketFile(this.#of(file)) === file;
  }

  /** Has a path lead to the socket of this file, unless something else of value is there. */
  restore(path: string, file: string): PathOutcome {
    // Whoever removes or binds the path at the same time is met again.
    for (let tries = 0; tries < 5; tries += 1) {
      if (socketFile(path) === file) return tries === 0 ? 'there' : 'restored';
      const isThere = isAnything(path);
      if (isThere && !isLeft(path)) return 'taken';
      if (!this.#isLinked(file, path, isThere) && isAnything(path) === isThere) return 'lost';
    }
    return 'taken';
  }

  /** Removes a path where it leads to the socket of this file. */
  remove(path: string, file: string): void {
    if (socketFile(path) === file) remove(path);
  }

  /** Takes the second name away. */
  forget(file: string): void {
    const link = this.#of(file);
    try {
      if (lstatSync(link).isSymbolicLink()) this.remove(readlinkSync(link), file);
    } catch {
      // It has none.
    }
    remove(link);
  }

  // It may come from another process: it must be no path.
  #of(file: string): string {
    return join(this.#folder, /^\d+-\d+$/.test(file) ? file : '-');
  }

  #add(file: string, path: string): void {
    const link = this.#of(file);
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      // What is there is left from a socket that had this number before.
      remove(link);
      if (isTried(() => linkSync(path, link))) return;
      const beside = join(dirname(path), `.${basename(path)}.moult`);
      remove(beside);
      linkSync(path, beside);
      symlinkSync(beside, link);
    } catch {
      // A file system without links, or a folder that is not ours: the path is as safe as it is without moult.
    }
  }

  /** Atomically: clients find what was there, or the socket. */
  #isLinked(file: string, path: string, replaces: boolean): boolean {
    const link = this.#of(file);
    if (!this.isKept(file)) return false;
    const from = lstatSync(link).isSymbolicLink() ? readlinkSync(link) : link;
    if (!replaces) return isTried(() => linkSync(from, path));
    const next = join(dirname(path), `.${basename(path)}.${process.pid}.moult`);
    return isTried(() => {
      remove(next);
      linkSync(from, next);
      renameSync(next, path);
    });
  }
}

// A path that is too long for the kernel was bound from within its folder, and is not asked for here.
function isLeft(path: string): boolean {
  try {
    return isAbandoned(path);
  } catch {
    return false;
  }
}

function remove(path: string): void {
  byMoult(() => rmSync(path, { force: true }));
}

function isTried(step: () => void): boolean {
  try {
    step();
    return true;
  } catch {
    return false;
  }
}
