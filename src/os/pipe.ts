import { libc, SOCK_CLOEXEC, systemCallError } from './libc.js';

/** A pipe whose ends no child inherits: the end to read from, and the one to write to. The caller closes both. */
export function pipe(): [number, number] {
  const out = new Int32Array(2);
  // O_CLOEXEC has the same value.
  if (libc().pipe2(out, SOCK_CLOEXEC) !== 0) throw systemCallError('pipe2');
  return [out[0] ?? -1, out[1] ?? -1];
}
