import { closeDescriptor } from '../descriptors/descriptor.js';
import {
  AF_UNIX,
  keepAlive,
  lastErrorName,
  libc,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOL_SOCKET,
  systemCallError,
} from '../libc.js';
import { unixAddress } from './unix-socket.js';

const CONTROL_HEADER_BYTES = 16;

/**
 * Sends one datagram to a Unix socket, with descriptors beside it, without blocking. Our own copies stay open.
 * @param path of the socket; an abstract name begins with a zero byte.
 * @returns whether it was sent; false when the receiver must first read what it has (EAGAIN, ENOBUFS).
 * @throws MOULT_SYSTEM_CALL with `details.reason`, such as ENOENT or ECONNREFUSED where nobody receives.
 */
export function sendDatagram(path: string, bytes: Buffer, descriptors: readonly number[] = []): boolean {
  const address = unixAddress(path, true);
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemCallError('socket');
  try {
    return send(fd, address, bytes, descriptors, path.replace('\0', '@'));
  } finally {
    closeDescriptor(fd);
  }
}

function send(
  fd: number,
  address: Buffer,
  bytes: Buffer,
  descriptors: readonly number[],
  name: string,
): boolean {
  const c = libc();
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(c.address(bytes), 0);
  vector.writeBigUInt64LE(BigInt(bytes.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(c.address(address), 0);
  header.writeUInt32LE(address.length, 8);
  header.writeBigUInt64LE(c.address(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  const control = controlOf(descriptors);
  if (descriptors.length > 0) {
    header.writeBigUInt64LE(c.address(control), 32);
    header.writeBigUInt64LE(BigInt(control.length), 40);
  }
  for (;;) {
    const sent = c.sendmsg(fd, header, MSG_DONTWAIT | MSG_NOSIGNAL);
    const reason = sent < 0 ? lastErrorName() : undefined;
    keepAlive(address, bytes, vector, control);
    if (reason === undefined) return true;
    if (reason === 'EINTR') continue;
    if (reason === 'EAGAIN' || reason === 'ENOBUFS' || reason === 'ETOOMANYREFS') return false;
    throw systemCallError('sendmsg', name, reason);
  }
}

function controlOf(descriptors: readonly number[]): Buffer {
  const bytes = CONTROL_HEADER_BYTES + descriptors.length * 4;
  const control = Buffer.alloc(Math.ceil(bytes / 8) * 8);
  control.writeBigUInt64LE(BigInt(bytes), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  descriptors.forEach((fd, i) => {
    control.writeInt32LE(fd, CONTROL_HEADER_BYTES + i * 4);
  });
  return control;
}
