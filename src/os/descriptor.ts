import { F_DUPFD_CLOEXEC, libc, SHUT_RDWR, systemCallError } from './libc.js';

/** A copy of a descriptor that no child of this process inherits. The caller closes it. */
export function duplicate(fd: number): number {
  // From 3 on: a copy must never become somebody's standard output.
  const copy = libc().fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw systemCallError('fcntl(F_DUPFD_CLOEXEC)', `descriptor ${fd}`);
  return copy;
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
