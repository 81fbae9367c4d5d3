import { libc, MSG_DONTWAIT, MSG_PEEK } from '../libc.js';

/** The first bytes that wait on a connection, which stay there; none where none wait, or it has ended. Source: recv(2), MSG_PEEK. */
export function peek(fd: number, maxBytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(maxBytes);
  const length = Number(libc().recv(fd, buffer, maxBytes, MSG_PEEK | MSG_DONTWAIT));
  return buffer.subarray(0, Math.max(0, length));
}
