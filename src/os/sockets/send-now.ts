import { getSystemErrorName } from 'node:util';
import { exportedCall, keepAlive, libc, MSG_DONTWAIT, MSG_NOSIGNAL } from '../libc.js';

/*
 * A stream of Node makes an object for each write, which a small one does not need when the kernel takes it at once.
 */

const EINTR = 4;
const EAGAIN = 11;
const ENOMEM = 12;
const ENOBUFS = 105;
/** With these the kernel takes nothing now, and perhaps later. */
const NOT_NOW = new Set([EINTR, EAGAIN, ENOMEM, ENOBUFS]);

type Send = (fd: number, address: number, length: number, flags: number) => number;
let send: Send | undefined;

/**
 * Sends what the kernel takes at once of the first bytes of memory that does not move.
 * @returns how many bytes it took, or why nothing can be sent any more, as Node says it of a write.
 * @throws RangeError for more than there are, or memory whose address is not known.
 */
export function sendNow(
  fd: number,
  { bytes, address }: { readonly bytes: Buffer; readonly address: number },
  length: number,
): number | Error {
  if (address === 0 || length < 0 || length > bytes.length)
    throw new RangeError(`${length} bytes at ${address} do not lie in ${bytes.length} bytes`);
  send ??= exportedCall('long send(int fd, uintptr_t buffer, size_t length, int flags)') as unknown as Send;
  const sent = send(fd, address, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  const errno = sent < 0 ? libc().errno() : 0;
  keepAlive(bytes);
  if (sent >= 0) return sent;
  if (NOT_NOW.has(errno)) return 0;
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`write ${code}`), { errno: -errno, code, syscall: 'write' });
}
