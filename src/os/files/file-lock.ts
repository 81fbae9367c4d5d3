import { fstatSync, openSync, statSync } from 'node:fs';
import { closeDescriptor, closeOnExec, keepOverExec } from '../descriptors/descriptor.js';
import { LOCK_EX, LOCK_NB, lastErrorName, libc, systemCallError } from '../libc.js';

/** A lock that the kernel lets go of when its process ends, however it ends. */
export class FileLock {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Takes the lock, or returns undefined when another process holds it. Source: flock(2). */
  static take(path: string): FileLock | undefined {
    for (;;) {
      const fd = openSync(path, 'a', 0o600);
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

  release(): void {
    if (this.#fd >= 0) closeDescriptor(this.#fd);
    this.#fd = -1;
  }
}

function isFileAt(fd: number, path: string): boolean {
  try {
    const [ours, other] = [fstatSync(fd), statSync(path)];
    return ours.dev === other.dev && ours.ino === other.ino;
  } catch {
    return false;
  }
}
