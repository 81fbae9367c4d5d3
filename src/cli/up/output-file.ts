import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makePrivate, runRoot } from '../../channel/private-folder.js';

/** How much of the output of a service is kept for a `moult up` that is not there; twice that while it is read. */
export const KEPT_OUTPUT = 8 * 1024 * 1024;
const CHUNK = 64 * 1024;

/*
 * A service outlives the `moult up` that started it, so its output is no pipe to that: a pipe breaks, or fills. It is a
 * file that both know, and that is never longer on the disk than its supervisor allows.
 */

/** Where the output of a service lies that `moult up` has started. */
export function outputPath(service: string): string {
  return join(dirname(runRoot()), 'moult-up', `${service}.log`);
}

/** Opens it to write at its end. @param isNew whether nobody writes to it, so that what it holds is of no use. */
export function openOutput(service: string, isNew: boolean): number {
  const path = outputPath(service);
  makePrivate(dirname(path));
  const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
  const fd = openSync(path, flags, 0o600);
  if (isNew) ftruncateSync(fd, 0);
  return fd;
}

/** Removes it after the end of its service. */
export function removeOutput(service: string): void {
  rmSync(outputPath(service), { force: true });
}

/** Reads what is written to it from now on. */
export class OutputReader {
  readonly #fd: number;
  readonly #onText: (bytes: Buffer) => void;
  #offset: number;

  /** @throws ENOENT where the service was started in another way. */
  constructor(service: string, onText: (bytes: Buffer) => void) {
    this.#fd = openSync(outputPath(service), constants.O_RDONLY | constants.O_NOFOLLOW);
    this.#offset = fstatSync(this.#fd).size;
    this.#onText = onText;
  }

  /** Reads what is there. */
  read(): void {
    const { size } = fstatSync(this.#fd);
    // It was emptied where the file system knows no holes.
    if (size < this.#offset) this.#offset = 0;
    while (this.#offset < size) {
      const chunk = Buffer.alloc(Math.min(CHUNK, size - this.#offset));
      const length = readSync(this.#fd, chunk, 0, chunk.length, this.#offset);
      if (length === 0) return;
      this.#offset += length;
      this.#onText(chunk.subarray(0, length));
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
