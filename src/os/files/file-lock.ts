import {
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { closeDescriptor, closeOnExec, keepOverExec } from '../descriptors/descriptor.js';
import { LOCK_EX, LOCK_NB, lastErrorName, libc, systemCallError } from '../libc.js';

// What lies in the place of the file is not waited for, as a FIFO is.
const TO_LOCK = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

/** A lock that the kernel lets go of when its process ends, however it ends. */
export class FileLock {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Takes the lock, or returns undefined when another process holds it. What lies at the path and is no file is removed.
   * Source: flock(2).
   */
  static take(path: string): FileLock | undefined {
    for (;;) {
      if (isNoFile(path)) rmSync(path, { recursive: true, force: true });
      const fd = openSync(path, TO_LOCK, 0o600);
      if (libc().flock(fd, LOCK_EX | LOCK_NB) === 0) {
        // Whoever held it before may have removed the file between our open and our lock.
        if (isFileAt(fd, path)) return new FileLock(fd);
        closeDescriptor(fd);
        continue;
      }
      const reason = lastErrorName();
      const error = systemCallError('flock', path);
      closeDescriptor(fd);
      if (reason === 'EAGAIN') return undefined;
      throw error;
    }
  }

  /**
   * The lock that the program before an exec held, by its descriptor; or one of which another process has passed
   * a copy. The file is locked until the last copy is closed.
   */
  static inherited(fd: number): FileLock {
    closeOnExec(fd);
    return new FileLock(fd);
  }

  /** Keeps the lock over the next exec. @returns its descriptor. */
  keepOverExec(): number {
    keepOverExec(this.#fd);
    return this.#fd;
  }

  /** The descriptor by which it is held, to be passed on. */
  get descriptor(): number {
    return this.#fd;
  }

  /** Whether the file that it locks is the one at this path. */
  isOf(path: string): boolean {
    return isFileAt(this.#fd, path);
  }

  /** Leaves something in the file for whoever takes the lock next. */
  write(text: string): void {
    ftruncateSync(this.#fd);
    if (text !== '') writeSync(this.#fd, text);
  }

  release(): void {
    if (this.#fd >= 0) closeDescriptor(this.#fd);
    this.#fd = -1;
  }
}

function isNoFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === false;
}

function isFileAt(fd: number, path: string): boolean {
  try {
    const [ours, other] = [fstatSync(fd), statSync(path)];
    return ours.dev === other.dev && ours.ino === other.ino;
  } catch {
    return false;
  }
}
