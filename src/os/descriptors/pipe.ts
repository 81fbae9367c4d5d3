import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { F_SETPIPE_SZ, libc, SOCK_CLOEXEC, systemCallError } from '../libc.js';

/** What a user may give to a pipe. Source: pipe(7), /proc/sys/fs/pipe-max-size. */
const LARGE_BYTES = 1 << 20;

/** A pipe whose ends no child inherits: the end to read from, and the one to write to. The caller closes both. */
export function pipe(): [number, number] {
  const out = new Int32Array(2);
  // O_CLOEXEC has the same value.
  if (libc().pipe2(out, SOCK_CLOEXEC) !== 0) throw systemCallError('pipe2');
  return [out[0] ?? -1, out[1] ?? -1];
}

/** The same with as much room as may be had: what a process writes just before it ends is lost where it does not fit. */
export function largePipe(): [number, number] {
  const ends = pipe();
  libc().fcntl(ends[1], F_SETPIPE_SZ, LARGE_BYTES);
  return ends;
}

/** A pipe that whoever writes to it keeps open for reading, too. */
export interface HeldPipe {
  readonly reader: number;
  /** One descriptor for both ends, for the process that writes. */
  readonly both: number;
}

/** Source: proc_pid_fdinfo(5): the flags are octal; open(2): O_RDWR. */
const READ_WRITE = constants.O_RDWR;
const ACCESS = constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR;

/** Makes such a pipe. The caller closes both descriptors. Source: pipe(7), fifo(7): opened for both, no write raises SIGPIPE. */
export function heldPipe(): HeldPipe {
  const [reader, writer] = largePipe();
  try {
    return { reader, both: openSync(`/proc/self/fd/${writer}`, constants.O_RDWR) };
  } catch (error) {
    libc().close(reader);
    throw error;
  } finally {
    libc().close(writer);
  }
}

/**
 * Opens such a pipe of another process to read from it.
 * @param place its number there.
 * @returns undefined for anything else: of a pipe that is only written to there, another process is the reader.
 */
export function openHeldPipe(pid: number, place: number): number | undefined {
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${place}`, 'utf8'))?.[1];
    if ((Number.parseInt(flags ?? '0', 8) & ACCESS) !== READ_WRITE) return undefined;
    const fd = openSync(`/proc/${pid}/fd/${place}`, constants.O_RDONLY | constants.O_NONBLOCK);
    if (fstatSync(fd).isFIFO()) return fd;
    closeSync(fd);
    return undefined;
  } catch {
    // It has ended, or is another user's.
    return undefined;
  }
}
