import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { libc, POLLHUP } from '../libc.js';

/** How long a reader waits for the writer of a pipe: less than whoever waits for this process does. */
const WAIT_MS = 2000;
const LOOK_MS = 10;
const CHUNK = 64 * 1024;

/**
 * Reads a whole file. A pipe is read until its writer closes it, as where a password manager writes an environment file
 * for each reader.
 * @param waitMs how long this process is blocked at most while a writer writes nothing (default: two seconds).
 * @throws Error of the system, or one that says what was found instead of a file.
 */
export function readPatiently(path: string, waitMs = WAIT_MS): string {
  // A blocking open(2) would wait for a writer for ever. Source: fifo(7).
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = fstatSync(fd);
    if (found.isFIFO()) return readPipe(fd, path, waitMs);
    if (found.isFile() || found.isCharacterDevice()) return readFileSync(fd, 'utf8');
    throw new Error(`${path}: expected a file, found another kind`);
  } finally {
    closeSync(fd);
  }
}

function readPipe(fd: number, path: string, mostMs: number): string {
  const parts: Buffer[] = [];
  const chunk = Buffer.alloc(CHUNK);
  for (let waitedMs = 0; waitedMs < mostMs; ) {
    const length = readSome(fd, chunk);
    if (length === 0 && (parts.length > 0 || hasHadWriter(fd))) return Buffer.concat(parts).toString('utf8');
    if (length !== undefined && length > 0) parts.push(Buffer.from(chunk.subarray(0, length)));
    else {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
      waitedMs += LOOK_MS;
    }
  }
  const what = parts.length > 0 ? 'its writer has not closed it' : 'nothing was written to it';
  throw new Error(`${path} is a pipe, and ${what} within ${mostMs} ms`);
}

/** Whether a pipe without a writer had one since it was opened here, or from its making on, as one without a name. Source: poll(2). */
function hasHadWriter(fd: number): boolean {
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  return libc().poll(request, 1, 0) > 0 && (request.readInt16LE(6) & POLLHUP) !== 0;
}

/** How many bytes came; 0 where there is no writer, nothing where its writer has written none yet. */
function readSome(fd: number, chunk: Buffer): number | undefined {
  try {
    return readSync(fd, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}
