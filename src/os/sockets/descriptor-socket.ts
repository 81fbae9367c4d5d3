import { MoultError } from '../../errors.js';
import { closeDescriptor } from '../descriptors/descriptor.js';
import {
  AF_UNIX,
  lastErrorName,
  libc,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOCK_SEQPACKET,
  SOL_SOCKET,
  systemCallError,
} from '../libc.js';

/*
 * Descriptors travel as records of a SOCK_SEQPACKET socket that Node never reads: one record carries a tag
 * of 32 bits and up to 253 descriptors. The message that speaks of them comes on another socket after the
 * record was sent, so on that message the record is there.
 */

const MAX_FDS = 253;
const TAG_BYTES = 4;
const CONTROL_HEADER_BYTES = 16;

const messageHeader = Buffer.alloc(56);
const vector = Buffer.alloc(16);
const data = Buffer.alloc(4096);
const control = Buffer.alloc(CONTROL_HEADER_BYTES + MAX_FDS * 4 + 4);
let prepared = false;

function prepare(dataBytes: number, controlBytes: number): void {
  const c = libc();
  if (!prepared) {
    vector.writeBigUInt64LE(c.address(data), 0);
    messageHeader.writeBigUInt64LE(c.address(vector), 16);
    messageHeader.writeBigUInt64LE(1n, 24);
    messageHeader.writeBigUInt64LE(c.address(control), 32);
    prepared = true;
  }
  vector.writeBigUInt64LE(BigInt(dataBytes), 8);
  messageHeader.writeBigUInt64LE(BigInt(controlBytes), 40);
  messageHeader.writeInt32LE(0, 48);
}

/** Two connected record sockets; both close-on-exec. */
export function descriptorSocketPair(): [number, number] {
  const out = new Int32Array(2);
  if (libc().socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, out) !== 0)
    throw systemCallError('socketpair');
  return [out[0] ?? -1, out[1] ?? -1];
}

/** Two connected stream sockets; both close-on-exec. */
export function streamSocketPair(): [number, number] {
  const out = new Int32Array(2);
  if (libc().socketpair(AF_UNIX, 1 | SOCK_CLOEXEC, 0, out) !== 0) throw systemCallError('socketpair');
  return [out[0] ?? -1, out[1] ?? -1];
}

/**
 * Sends one record, without blocking. The sender's own descriptors stay open.
 * @returns whether it was sent; false when the receiver must first take what is on its way
 *   (EAGAIN; ETOOMANYREFS, when as many descriptors are in flight as the process may have open).
 * @throws MOULT_DESCRIPTORS when the socket is broken or a descriptor is not open.
 */
export function sendDescriptors(socket: number, tag: number, descriptors: readonly number[]): boolean {
  data.writeUInt32BE(tag >>> 0, 0);
  return sendRecord(socket, TAG_BYTES, descriptors);
}

/** Sends bytes of a stream with one descriptor beside them; the bytes must be few, and the socket's buffer empty. */
export function sendBytesWithDescriptor(socket: number, bytes: Buffer, descriptor: number): void {
  bytes.copy(data, 0);
  if (bytes.length > data.length || !sendRecord(socket, bytes.length, [descriptor])) {
    throw new MoultError('MOULT_DESCRIPTORS', 'a greeting could not be sent: the socket is full');
  }
}

function sendRecord(socket: number, dataBytes: number, descriptors: readonly number[]): boolean {
  if (descriptors.length > MAX_FDS) {
    throw new MoultError(
      'MOULT_DESCRIPTORS',
      `expected at most ${MAX_FDS} descriptors in one record, received ${descriptors.length}`,
    );
  }
  const controlBytes = CONTROL_HEADER_BYTES + descriptors.length * 4;
  const aligned = Math.ceil(controlBytes / 8) * 8;
  prepare(dataBytes, aligned);
  control.writeBigUInt64LE(BigInt(controlBytes), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  descriptors.forEach((fd, i) => {
    control.writeInt32LE(fd, CONTROL_HEADER_BYTES + i * 4);
  });
  for (;;) {
    if (libc().sendmsg(socket, messageHeader, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
    const reason = lastErrorName();
    if (reason === 'EINTR') continue;
    if (reason === 'EAGAIN' || reason === 'ETOOMANYREFS' || reason === 'ENOBUFS') return false;
    throw new MoultError(
      'MOULT_DESCRIPTORS',
      `sending ${descriptors.length} descriptors failed with ${reason}`,
      {
        details: { reason },
      },
    );
  }
}

/** One received record. The descriptors are the receiver's, who closes them. */
export interface DescriptorRecord {
  readonly tag: number;
  readonly descriptors: number[];
  /** Whether the kernel dropped some of them, because this process may open no more. */
  readonly truncated: boolean;
}

/**
 * Takes the next record, without blocking.
 * @returns undefined when there is none.
 */
export function receiveDescriptors(socket: number): DescriptorRecord | undefined {
  const received = receiveRecord(socket, data.length, MSG_DONTWAIT);
  if (received === undefined) return undefined;
  if (received.bytes < TAG_BYTES) {
    for (const fd of received.descriptors) closeDescriptor(fd);
    if (received.bytes === 0) return undefined;
    throw new MoultError('MOULT_PROTOCOL_FRAME', 'expected a record with a tag, received a shorter one');
  }
  return { tag: data.readUInt32BE(0), descriptors: received.descriptors, truncated: received.truncated };
}

/** Reads at most `length` bytes of a stream, and the descriptors beside them; waits for them if the socket blocks. */
export function receiveBytesWithDescriptors(
  socket: number,
  length: number,
): { bytes: Buffer; descriptors: number[] } | undefined {
  const received = receiveRecord(socket, Math.min(length, data.length), 0);
  if (received === undefined) return undefined;
  return { bytes: Buffer.from(data.subarray(0, received.bytes)), descriptors: received.descriptors };
}

function receiveRecord(
  socket: number,
  dataBytes: number,
  flags: number,
): { bytes: number; descriptors: number[]; truncated: boolean } | undefined {
  for (;;) {
    prepare(dataBytes, control.length);
    const bytes = libc().recvmsg(socket, messageHeader, flags | MSG_CMSG_CLOEXEC);
    if (bytes >= 0) {
      const descriptors = descriptorsOf(Number(messageHeader.readBigUInt64LE(40)));
      return { bytes, descriptors, truncated: (messageHeader.readInt32LE(48) & MSG_CTRUNC) !== 0 };
    }
    const reason = lastErrorName();
    if (reason === 'EINTR') continue;
    if (reason === 'EAGAIN') return undefined;
    throw new MoultError('MOULT_DESCRIPTORS', `receiving descriptors failed with ${reason}`, {
      details: { reason },
    });
  }
}

function descriptorsOf(controlBytes: number): number[] {
  const descriptors: number[] = [];
  let offset = 0;
  while (offset + CONTROL_HEADER_BYTES <= controlBytes) {
    const length = Number(control.readBigUInt64LE(offset));
    if (length < CONTROL_HEADER_BYTES || offset + length > controlBytes) break;
    if (control.readInt32LE(offset + 8) === SOL_SOCKET && control.readInt32LE(offset + 12) === SCM_RIGHTS) {
      for (let at = offset + CONTROL_HEADER_BYTES; at + 4 <= offset + length; at += 4) {
        descriptors.push(control.readInt32LE(at));
      }
    }
    offset += Math.ceil(length / 8) * 8;
  }
  return descriptors;
}
