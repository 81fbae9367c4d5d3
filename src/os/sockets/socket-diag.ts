import { isIPv4 } from 'node:net';
import { closeDescriptor } from '../descriptors/descriptor.js';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_UNIX,
  libc,
  MSG_DONTWAIT,
  NETLINK_SOCK_DIAG,
  SOCK_CLOEXEC,
  SOCK_RAW,
  systemCallError,
} from '../libc.js';
import { addressBytes } from './bind-address.js';

/*
 * What the kernel tells of sockets of other processes. Source: sock_diag(7); Linux include/uapi/linux/netlink.h,
 * sock_diag.h, inet_diag.h, unix_diag.h.
 */

const HEADER_BYTES = 16;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
/** No part of an answer is longer. Source: Linux net/netlink/af_netlink.c, netlink_dump. */
const PART_BYTES = 32_768;
const SOCK_DIAG_BY_FAMILY = 20;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const TCP_LISTEN = 10;
/** Of a datagram socket: it is not connected. Source: Linux net/ipv4/udp_diag.c. */
const TCP_CLOSE = 7;
const INET_REQUEST_BYTES = 56;
const INET_STATE_AT = 1;
const INET_DEVICE_AT = 40;
const INET_INODE_AT = 68;
const UNIX_REQUEST_BYTES = 24;
const UNIX_MESSAGE_BYTES = 16;
const UDIAG_SHOW_VFS = 2;
const UDIAG_SHOW_PEER = 4;
const UNIX_DIAG_VFS = 1;
const UNIX_DIAG_PEER = 2;

/** One end of a TCP connection. */
export interface TcpEnd {
  readonly host: string;
  readonly port: number;
}

/**
 * The inode of the socket at the other end of a TCP connection, where that is on this machine too.
 * @returns 0 while no process has accepted the connection; undefined when there is no such socket any more.
 */
export function tcpPeerInode(ours: TcpEnd, theirs: TcpEnd): number | undefined {
  const request = Buffer.alloc(INET_REQUEST_BYTES);
  request[0] = isIPv4(theirs.host) ? AF_INET : AF_INET6;
  request[1] = IPPROTO_TCP;
  request.writeUInt32LE(0xffffffff, 4);
  request.writeUInt16BE(theirs.port, 8);
  request.writeUInt16BE(ours.port, 10);
  addressBytes(theirs.host).copy(request, 12);
  addressBytes(ours.host).copy(request, 28);
  // No cookie: whichever socket has these addresses.
  request.fill(0xff, 48);
  const answer = ask(request);
  if (answer === undefined || answer.length < INET_INODE_AT + 4) return undefined;
  // Where there is no such connection the kernel answers with who listens. Source: Linux net/ipv4/inet_hashtables.c, __inet_lookup.
  return answer[INET_STATE_AT] === TCP_LISTEN ? undefined : answer.readUInt32LE(INET_INODE_AT);
}

/**
 * The inode of the socket at the other end of a Unix connection.
 * @returns 0 while no process has accepted the connection; undefined when there is no such socket any more.
 */
export function unixPeerInode(ourInode: number): number | undefined {
  return unixAttribute(ourInode, UDIAG_SHOW_PEER, UNIX_DIAG_PEER);
}

/** The lower 32 bits of the inode of the file that a Unix socket was bound as, whatever its name is by now; undefined where it has none. */
export function unixFileInode(inode: number): number | undefined {
  return unixAttribute(inode, UDIAG_SHOW_VFS, UNIX_DIAG_VFS);
}

function unixAttribute(inode: number, show: number, attribute: number): number | undefined {
  const request = Buffer.alloc(UNIX_REQUEST_BYTES);
  request[0] = AF_UNIX;
  request.writeUInt32LE(0xffffffff, 4);
  request.writeUInt32LE(inode, 8);
  request.writeUInt32LE(show, 12);
  request.fill(0xff, 16);
  const answer = ask(request);
  for (let at = UNIX_MESSAGE_BYTES; answer !== undefined && at + 8 <= answer.length; ) {
    const bytes = answer.readUInt16LE(at);
    if (answer.readUInt16LE(at + 2) === attribute) return answer.readUInt32LE(at + 4);
    if (bytes < 4) break;
    at += Math.ceil(bytes / 4) * 4;
  }
  return undefined;
}

/** A socket of the Internet on which somebody listens, or receives. */
export interface InternetListener extends TcpEnd {
  readonly inode: number;
  /** The index of the device at which it is; 0 is every device. */
  readonly device: number;
}

/** All TCP sockets of this network namespace on which somebody listens. @throws MOULT_SYSTEM_CALL where the kernel does not tell. */
export function tcpListeners(): InternetListener[] {
  return inState(IPPROTO_TCP, TCP_LISTEN);
}

/** All datagram sockets of this network namespace that are bound, and receive from anybody. @throws MOULT_SYSTEM_CALL as {@link tcpListeners}. */
export function udpReceivers(): InternetListener[] {
  return inState(IPPROTO_UDP, TCP_CLOSE);
}

function inState(protocol: number, state: number): InternetListener[] {
  return [AF_INET, AF_INET6].flatMap((family) => {
    const request = Buffer.alloc(INET_REQUEST_BYTES);
    request[0] = family;
    request[1] = protocol;
    request.writeUInt32LE(1 << state, 4);
    return dump(request).map((answer) => ({
      host: hostOf(answer.subarray(8, family === AF_INET ? 12 : 24)),
      port: answer.readUInt16BE(4),
      inode: answer.readUInt32LE(INET_INODE_AT),
      device: answer.readUInt32LE(INET_DEVICE_AT),
    }));
  });
}

function hostOf(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16)).join(':');
  // As URLs write it.
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}

/** The bodies of all answers. */
function dump(request: Buffer): Buffer[] {
  const answers: Buffer[] = [];
  converse(request, NLM_F_REQUEST | NLM_F_DUMP, (next) => {
    for (let part = next(); ; part = next()) {
      for (let at = 0; at + HEADER_BYTES <= part.length; ) {
        const bytes = part.readUInt32LE(at);
        // Its end, or an error.
        if (bytes < HEADER_BYTES || part.readUInt16LE(at + 4) !== SOCK_DIAG_BY_FAMILY) return;
        answers.push(Buffer.from(part.subarray(at + HEADER_BYTES, at + bytes)));
        at += Math.ceil(bytes / 4) * 4;
      }
      if (part.length < HEADER_BYTES) return;
    }
  });
  return answers.filter((answer) => answer.length >= INET_INODE_AT + 4);
}

/** The body of the one answer; undefined when the kernel knows no such socket. */
function ask(request: Buffer): Buffer | undefined {
  let body: Buffer | undefined;
  converse(request, NLM_F_REQUEST, (next) => {
    const answer = next();
    if (answer.length >= HEADER_BYTES && answer.readUInt16LE(4) === SOCK_DIAG_BY_FAMILY)
      body = answer.subarray(HEADER_BYTES);
  });
  return body;
}

/** Asks the kernel. @param hear is given what reads the next part of the answer; an empty one is the end. */
function converse(request: Buffer, flags: number, hear: (next: () => Buffer) => void): void {
  const message = Buffer.alloc(HEADER_BYTES + request.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
  message.writeUInt16LE(flags, 6);
  request.copy(message, HEADER_BYTES);
  const fd = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) throw systemCallError('socket(NETLINK_SOCK_DIAG)');
  try {
    // The kernel answers within the send.
    if (libc().send(fd, message, message.length, 0) < 0) throw systemCallError('send(NETLINK_SOCK_DIAG)');
    hear(() => {
      const part = Buffer.alloc(PART_BYTES);
      return part.subarray(0, Math.max(0, libc().recv(fd, part, part.length, MSG_DONTWAIT)));
    });
  } finally {
    closeDescriptor(fd);
  }
}
