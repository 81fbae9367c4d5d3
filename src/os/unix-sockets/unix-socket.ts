import { Buffer } from 'node:buffer';
import { lstatSync } from 'node:fs';
import { MoultError } from '../../errors.js';
import { block, closeDescriptor } from '../descriptors/descriptor.js';
import { reserve } from '../descriptors/descriptor-reserve.js';
import {
  AF_INET,
  AF_UNIX,
  lastErrorName,
  libc,
  MSG_NOSIGNAL,
  POLLIN,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  systemCallError,
} from '../libc.js';
import { type PeerCredentials, peerCredentials } from './peer.js';

/** The longest path of a Unix socket, in bytes. Source: unix(7), sun_path. */
export const MAX_SOCKET_PATH_BYTES = 107;

/**
 * A path, or an abstract name that begins with a zero byte, as the kernel takes it.
 * @param isExact an abstract name is never padded: for sockets that no Node has bound.
 * @throws MOULT_BAD_OPTION when it is too long.
 */
export function unixAddress(path: string, isExact = false): Buffer {
  const bytes = Buffer.from(path, 'utf8');
  // An abstract name begins with a zero byte and is not terminated; a path is.
  const abstract = bytes[0] === 0;
  if (bytes.length > MAX_SOCKET_PATH_BYTES + (abstract ? 1 : 0)) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `expected a socket path of at most ${MAX_SOCKET_PATH_BYTES} bytes, received one of ${bytes.length}: ${path}`,
    );
  }
  // Node 20 (libuv 1.46) pads an abstract name to the full length, and finds only names that are padded.
  const isPadded = abstract && !isExact && Number(process.versions.node.split('.')[0]) < 22;
  const address = Buffer.alloc(
    isPadded ? 2 + MAX_SOCKET_PATH_BYTES + 1 : 2 + bytes.length + (abstract ? 0 : 1),
  );
  address.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(address, 2);
  return address;
}

/**
 * Connects to a listening Unix socket, blocking.
 * @returns the descriptor, which blocks; the caller closes it.
 * @throws MOULT_SYSTEM_CALL, with `details.reason` such as ECONNREFUSED or ENOENT.
 */
export function connectUnix(path: string): number {
  const address = unixAddress(path);
  const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemCallError('socket');
  if (libc().connect(fd, address, address.length) !== 0) {
    const error = systemCallError('connect', path);
    closeDescriptor(fd);
    throw error;
  }
  return fd;
}

/**
 * The same, but never waits: where the queue of who listens is full, because that process is stopped or blocked, it throws.
 * @throws MOULT_SYSTEM_CALL, with `details.reason`: ECONNREFUSED, ENOENT; EAGAIN where the queue is full.
 */
export function connectUnixNow(path: string): number {
  const address = unixAddress(path);
  const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw systemCallError('socket');
  try {
    if (libc().connect(fd, address, address.length) !== 0) throw systemCallError('connect', path);
    block(fd);
    return fd;
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

/** Whether a process listens at this path, without ever waiting for it: one that is stopped does. */
export function isListening(path: string): boolean {
  return listenerAt(path) !== undefined;
}

/**
 * Who listens at this path, without ever waiting for it: one that is stopped does, and is known.
 * @returns undefined when nobody does; null when somebody does whose queue is full.
 */
export function listenerAt(path: string, isExact = false): PeerCredentials | null | undefined {
  const address = unixAddress(path, isExact);
  return reserve.use(() => listenerOf(address));
}

function listenerOf(address: Buffer): PeerCredentials | null | undefined {
  const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw systemCallError('socket');
  try {
    if (libc().connect(fd, address, address.length) === 0) return peerCredentials(fd);
    // Its queue is full.
    return lastErrorName() === 'EAGAIN' ? null : undefined;
  } finally {
    closeDescriptor(fd);
  }
}

/**
 * Binds a Unix socket at exactly this path, owned by no handle of Node, so that none unlinks it on close.
 * @returns the bound descriptor (it does not listen yet), or the name of the error, such as EADDRINUSE.
 */
export function bindUnix(path: string, isExact = false): number | string {
  const address = unixAddress(path, isExact);
  const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw systemCallError('socket');
  if (libc().bind(fd, address, address.length) === 0) return fd;
  const reason = lastErrorName();
  closeDescriptor(fd);
  return reason;
}

/** Has a bound socket listen. @throws MOULT_SYSTEM_CALL */
export function listenOn(fd: number, backlog: number): void {
  if (libc().listen(fd, backlog) !== 0) throw systemCallError('listen', `descriptor ${fd}`);
}

/** The next connection of a listening socket, without waiting. @returns its descriptor, or the name of the error, such as EAGAIN. */
export function acceptConnection(fd: number): number | string {
  for (;;) {
    const accepted = libc().accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) return accepted;
    const reason = lastErrorName();
    // One that has gone meanwhile.
    if (reason !== 'EINTR' && reason !== 'ECONNABORTED') return reason;
  }
}

/** A TCP socket that is neither bound nor connected. The caller closes it. */
export function unboundTcpSocket(): number {
  const fd = libc().socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw systemCallError('socket');
  return fd;
}

/**
 * Waits until there is something to read.
 * @throws MOULT_PEER_TIMEOUT
 */
export function waitReadable(fd: number, deadlineMs: number): void {
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  request.writeInt16LE(POLLIN, 4);
  for (;;) {
    const leftMs = Math.ceil(deadlineMs - performance.now());
    if (leftMs <= 0) throw new MoultError('MOULT_PEER_TIMEOUT', 'no answer came over the socket in time');
    if (libc().poll(request, 1, leftMs) > 0) return;
  }
}

/** Whether there is something to read now. */
export function isReadable(fd: number): boolean {
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  request.writeInt16LE(POLLIN, 4);
  return libc().poll(request, 1, 0) > 0;
}

/**
 * Reads exactly so many bytes from a blocking socket, and no more.
 * @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT
 */
export function readExactly(fd: number, length: number, deadlineMs: number): Buffer {
  const bytes = Buffer.alloc(length);
  let have = 0;
  while (have < length) {
    waitReadable(fd, deadlineMs);
    const part = bytes.subarray(have);
    const got = libc().recv(fd, part, part.length, 0);
    if (got === 0) throw new MoultError('MOULT_PEER_CLOSED', 'the other side closed the socket');
    if (got < 0) {
      if (lastErrorName() === 'EINTR') continue;
      throw systemCallError('recv');
    }
    have += got;
  }
  return bytes;
}

/** Writes all bytes to a blocking socket. */
export function writeAll(fd: number, bytes: Buffer): void {
  let written = 0;
  while (written < bytes.length) {
    const part = bytes.subarray(written);
    const wrote = libc().send(fd, part, part.length, MSG_NOSIGNAL);
    if (wrote < 0) {
      if (lastErrorName() === 'EINTR') continue;
      throw systemCallError('send');
    }
    written += wrote;
  }
}

/**
 * Whether a path is that of a Unix socket which no process has open any more. Whoever has it bound, whether it
 * listens or not, is not disturbed: a socket of another type only asks for it. Source: Linux
 * net/unix/af_unix.c, unix_find_other: ECONNREFUSED where none is bound, EPROTOTYPE where the type differs.
 */
export function isAbandoned(path: string): boolean {
  if (path.startsWith('\0') || !isSocket(path)) return false;
  const address = unixAddress(path);
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemCallError('socket');
  const isRefused = libc().connect(fd, address, address.length) !== 0 && lastErrorName() === 'ECONNREFUSED';
  closeDescriptor(fd);
  return isRefused;
}

function isSocket(path: string): boolean {
  try {
    return lstatSync(path).isSocket();
  } catch {
    return false;
  }
}
