import { F_GETOWN, F_SETOWN, libc } from '../libc.js';

/*
 * While a connection changes hands two processes hold a copy of it. Which of them may serve it is written on the
 * connection itself, where it outlives either of them: the process that the kernel would signal for it. Nothing
 * asks for such signals, but for urgent data of TCP (SIGURG), which a process ignores unless it wants to know.
 * Source: fcntl(2), F_SETOWN; the owner belongs to the open file, not to the descriptor.
 */

/** Says which process may serve a connection, whichever of them has a copy. A process that is gone can be given nothing. */
export function giveTo(fd: number, pid: number): void {
  libc().fcntl(fd, F_SETOWN, pid);
}

/** Whether a connection was given to this process, and not taken back. */
export function isGivenToUs(fd: number): boolean {
  return libc().fcntl(fd, F_GETOWN, 0) === process.pid;
}
