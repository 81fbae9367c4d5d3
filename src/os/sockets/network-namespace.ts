import { closeDescriptor } from '../descriptors/descriptor.js';
import { AF_INET, libc, SO_NETNS_COOKIE, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET } from '../libc.js';

/** That of this process; it never changes. */
let own: bigint | undefined;

/**
 * Whether a socket is in a network namespace in which this process is not: its addresses are not those of this process.
 * False where the kernel does not tell (before Linux 5.14). Source: Linux net/core/sock.c, SO_NETNS_COOKIE.
 */
export function isInOtherNetwork(fd: number): boolean {
  own ??= ownCookie();
  const cookie = cookieOf(fd);
  return own !== undefined && cookie !== undefined && cookie !== own;
}

function ownCookie(): bigint | undefined {
  const fd = libc().socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const cookie = cookieOf(fd);
  closeDescriptor(fd);
  return cookie;
}

function cookieOf(fd: number): bigint | undefined {
  const value = Buffer.alloc(8);
  const got = libc().getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, new Int32Array([8]));
  return got === 0 ? value.readBigUInt64LE(0) : undefined;
}
