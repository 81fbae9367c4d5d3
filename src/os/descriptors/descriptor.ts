import {
  F_DUPFD_CLOEXEC,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  libc,
  O_CLOEXEC,
  O_NONBLOCK,
  SHUT_RDWR,
  SO_REUSEADDR,
  SOL_SOCKET,
  systemCallError,
} from '../libc.js';

/** A copy of a descriptor that no child of this process inherits. The caller closes it. */
export function duplicate(fd: number): number {
  // From 3 on: a copy must never become somebody's standard output.
  const copy = libc().fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw systemCallError('fcntl(F_DUPFD_CLOEXEC)', `descriptor ${fd}`);
  return copy;
}

/** The same, and closes the descriptor where there is no room for a copy: nobody learns then that it was opened. @throws MOULT_SYSTEM_CALL */
export function duplicateOrClose(fd: number): number {
  try {
    return duplicate(fd);
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

/** Closes a descriptor that Node knows nothing of. */
export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

/**
 * Closes a listening socket for every process that holds a copy of it: it leaves the state LISTEN at once,
 * and its address can be bound anew even while copies are open.
 * Source: Linux net/ipv4/af_inet.c, inet_shutdown: TCP_LISTEN goes to tcp_disconnect.
 */
export function shutDownListener(fd: number): void {
  libc().shutdown(fd, SHUT_RDWR);
}

/** Puts a copy of a descriptor in the place of another, such as standard output; children inherit that copy. */
export function replaceDescriptor(fd: number, place: number): void {
  if (libc().dup2(fd, place) < 0) throw systemCallError('dup2', `descriptor ${fd} to ${place}`);
}

/** Puts a copy of a descriptor in the place of another; no child inherits that copy. */
export function replaceDescriptorPrivately(fd: number, place: number): void {
  if (libc().dup3(fd, place, O_CLOEXEC) < 0) throw systemCallError('dup3', `descriptor ${fd} to ${place}`);
}

/** Has reads and writes return at once where they would wait, for every process that holds a copy. */
export function unblock(fd: number): void {
  const flags = libc().fcntl(fd, F_GETFL, 0);
  if (flags < 0 || libc().fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    throw systemCallError('fcntl(F_SETFL)', `descriptor ${fd}`);
  }
}

/** Takes back {@link unblock}. */
export function block(fd: number): void {
  const flags = libc().fcntl(fd, F_GETFL, 0);
  if (flags < 0 || libc().fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
    throw systemCallError('fcntl(F_SETFL)', `descriptor ${fd}`);
  }
}

/**
 * Lets another socket that asks for it bind the address of this one, or no more.
 * Source: socket(7), SO_REUSEADDR; of a UDP socket both must have it.
 */
export function shareAddress(fd: number, isShared: boolean): void {
  const value = Buffer.alloc(4);
  value.writeInt32LE(isShared ? 1 : 0, 0);
  if (libc().setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, value, value.length) !== 0) {
    throw systemCallError('setsockopt(SO_REUSEADDR)', `descriptor ${fd}`);
  }
}

/** Lets a descriptor survive the next exec of this process. */
export function keepOverExec(fd: number): void {
  if (libc().fcntl(fd, F_SETFD, 0) < 0) throw systemCallError('fcntl(F_SETFD)', `descriptor ${fd}`);
}

/** Takes back {@link keepOverExec}: no child inherits the descriptor. */
export function closeOnExec(fd: number): void {
  if (libc().fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) throw systemCallError('fcntl(F_SETFD)', `descriptor ${fd}`);
}
