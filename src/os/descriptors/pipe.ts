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
