import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tryToRemove } from '../../os/files/remove.js';

/** Only so much of its end is read, so that a long one cannot hold up a start. */
const MAX_READ_BYTES = 16 * 1024 * 1024;
/** From this size on it is written anew with what still matters. */
const MAX_BYTES = 1024 * 1024;

// What lies in the place of the file is not waited for, as a FIFO is, and not followed.
const TO_READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
const TO_ADD =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/** What was read of a file of lines. */
export interface ReadLines {
  readonly lines: readonly string[];
  /** Whether only the end of the file was read. */
  readonly isCut: boolean;
  /** Why it could not be read, although something lies there. */
  readonly failure?: unknown;
}

/**
 * A file of lines that is only appended to, and that may vanish or find no room at any time: it knows when lines were
 * lost, and then has what must be known written anew as soon as that goes.
 */
export class JournalFile {
  readonly path: string;
  /** Lines that tell all that must be known after a kill; asked when lines were lost. */
  facts: () => readonly string[] = () => [];
  readonly #onFailure: (error: unknown) => void;
  readonly #kept = new Map<string, string>();
  #inode: number | undefined;
  /** How long it was when a line was last written here; others may have added some. */
  #size = 0;
  /** Whether the last line is known to be whole: else the next one would be written into it. */
  #endsWhole = false;
  #hasLost = false;
  #isFailing = false;

  /** @param onFailure is told the first time that a line could not be written. */
  constructor(path: string, onFailure: (error: unknown) => void) {
    this.path = path;
    this.#onFailure = onFailure;
  }

  /** Adds a line. Where that does not go it is lost. */
  append(line: string): void {
    this.#attempt((fd) => this.#add(fd, this.#hasLost ? [...this.#facts(), line] : [line]));
  }

  /** Counts a line among what must be known, in the place of the one before of the same key. */
  keep(key: string, line: string): void {
    this.#kept.set(key, line);
  }

  /** Writes what must be known where lines were lost, such as on a full disk, or with the whole file. */
  mend(): void {
    if (this.#hasLost || !this.#isThere())
      this.#attempt((fd) => {
        if (this.#hasLost) this.#add(fd, this.#facts());
      });
  }

  /**
   * Writes the file anew where it has grown long. It is complete at every moment, whenever this process is killed.
   * @param shorten returns the lines that still matter.
   */
  compact(shorten: (lines: readonly string[]) => readonly string[]): void {
    const fresh = `${this.path}.new`;
    try {
      const fd = openSync(this.path, TO_READ);
      const { size } = fstatSync(fd);
      closeSync(fd);
      if (size <= MAX_BYTES) return;
      const facts = this.#hasLost ? this.#facts() : this.facts();
      const { lines: before, failure } = this.read();
      // What cannot be read just now is not written over.
      if (failure !== undefined) return;
      const lines = [...shorten(before), ...facts];
      writeFileSync(fresh, `${lines.join('\n')}\n`, { mode: 0o600 });
      renameSync(fresh, this.path);
      this.#inode = undefined;
      this.#hasLost = false;
    } catch {
      // No room for it: the long one stays.
      tryToRemove(fresh);
    }
  }

  /** Its lines, oldest first; none where it cannot be read. */
  read(): ReadLines {
    let fd: number;
    try {
      fd = openSync(this.path, TO_READ);
    } catch (failure) {
      const isMissing = (failure as NodeJS.ErrnoException).code === 'ENOENT' || this.#isNoFile();
      return { lines: [], isCut: false, ...(isMissing ? {} : { failure }) };
    }
    try {
      const found = fstatSync(fd);
      if (!found.isFile()) return { lines: [], isCut: false };
      const { size } = found;
      const bytes = Buffer.alloc(Math.min(size, MAX_READ_BYTES));
      const length = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
      return { lines: bytes.toString('utf8', 0, length).split('\n'), isCut: size > bytes.length };
    } catch (failure) {
      return { lines: [], isCut: false, failure };
    } finally {
      closeSync(fd);
    }
  }

  #facts(): string[] {
    return [...this.#kept.values(), ...this.facts()];
  }

  #attempt(work: (fd: number) => void): void {
    let fd: number | undefined;
    try {
      // The folder is private: what lies there and is no file has been put in its place.
      if (this.#isNoFile()) rmSync(this.path, { recursive: true, force: true });
      fd = openSync(this.path, TO_ADD, 0o600);
      const found = fstatSync(fd);
      if (!this.#isSame(found)) this.#hasLost = true;
      this.#inode = found.ino;
      work(fd);
      this.#size = fstatSync(fd).size;
      this.#isFailing = false;
    } catch (error) {
      this.#hasLost = true;
      this.#endsWhole = false;
      if (!this.#isFailing) this.#onFailure(error);
      this.#isFailing = true;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  #add(fd: number, lines: readonly string[]): void {
    const { size } = fstatSync(fd);
    const start = size === 0 || this.#endsWhole ? '' : '\n';
    const bytes = Buffer.from(`${start}${lines.join('\n')}\n`);
    const written = writeSync(fd, bytes);
    if (written < bytes.length)
      throw new Error(`ENOSPC: only ${written} of ${bytes.length} bytes were written`);
    this.#endsWhole = true;
    this.#hasLost = false;
  }

  #isNoFile(): boolean {
    try {
      return !lstatSync(this.path).isFile();
    } catch {
      return false;
    }
  }

  // Somebody has removed it, or emptied it, with all that it told.
  #isSame({ ino, size }: { readonly ino: number; readonly size: number }): boolean {
    return this.#inode === undefined || (ino === this.#inode && size >= this.#size);
  }

  #isThere(): boolean {
    try {
      const fd = openSync(this.path, TO_READ);
      const found = fstatSync(fd);
      closeSync(fd);
      return found.isFile() && this.#isSame(found);
    } catch {
      return false;
    }
  }
}
