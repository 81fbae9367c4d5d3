import { closeSync, constants, fstatSync, openSync } from 'node:fs';

/** What tells one file from another, whatever their names. */
export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
}

/**
 * Opens a regular file to write at its end, and makes it where it is missing (mode 0640, less the umask).
 * @returns the descriptor, from 3 on; the caller closes it.
 * @throws Error of the system, or one that says what was found instead of a file.
 */
export function openToAppend(path: string): number {
  // Not to wait for the reader of a FIFO.
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
  const fd = openSync(path, flags, 0o640);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error(`${path}: expected a regular file, found another kind`);
}

/** Which file a descriptor means. */
export function identityOf(fd: number): FileIdentity {
  const { dev, ino } = fstatSync(fd);
  return { dev, ino };
}

/** Whether a descriptor means a regular file. */
export function isRegularFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
}
