import { SocketAddress } from 'node:net';
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  libc,
  SO_ACCEPTCONN,
  SO_TYPE,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../libc.js';

/** What a socket is, as the kernel knows it. */
export interface SocketIdentity {
  readonly type: 'stream' | 'datagram' | 'other';
  /** Whether it is in the state in which connections are taken. */
  readonly isListening: boolean;
  readonly address: SocketName;
}

/** Where a socket is bound. An abstract Unix name begins with a zero byte. */
export type SocketName =
  | {
      readonly family: 'ipv4' | 'ipv6';
      readonly host: string;
      readonly port: number;
      readonly ipv6Only: boolean;
    }
  | { readonly family: 'unix'; readonly path: string }
  | { readonly family: 'other' };

/** Source: sockaddr_storage is 128 bytes. */
const MAX_ADDRESS_BYTES = 128;

/** What a descriptor is bound to. @returns undefined when it is no socket, or is not open. Source: getsockname(2), socket(7). */
export function socketIdentity(fd: number): SocketIdentity | undefined {
  const bytes = Buffer.alloc(MAX_ADDRESS_BYTES);
  const length = new Int32Array([bytes.length]);
  if (libc().getsockname(fd, bytes, length) !== 0) return undefined;
  const type = option(fd, SOL_SOCKET, SO_TYPE);
  return {
    type: type === SOCK_STREAM ? 'stream' : type === SOCK_DGRAM ? 'datagram' : 'other',
    isListening: option(fd, SOL_SOCKET, SO_ACCEPTCONN) === 1,
    address: nameOf(fd, bytes.subarray(0, Math.min(length[0] ?? 0, bytes.length))),
  };
}

/** Where the other side of a connection is bound. @returns undefined when there is none. Source: getpeername(2). */
export function peerName(fd: number): SocketName | undefined {
  const bytes = Buffer.alloc(MAX_ADDRESS_BYTES);
  const length = new Int32Array([bytes.length]);
  if (libc().getpeername(fd, bytes, length) !== 0) return undefined;
  return nameOf(fd, bytes.subarray(0, Math.min(length[0] ?? 0, bytes.length)));
}

function nameOf(fd: number, bytes: Buffer): SocketName {
  const family = bytes.length < 2 ? -1 : bytes.readUInt16LE(0);
  if (family === AF_UNIX) return { family: 'unix', path: pathOf(bytes.subarray(2)) };
  if (family === AF_INET) {
    const host = [...bytes.subarray(4, 8)].join('.');
    return { family: 'ipv4', host, port: bytes.readUInt16BE(2), ipv6Only: false };
  }
  if (family === AF_INET6) {
    const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(8 + i * 2).toString(16));
    // As the kernel and Node write it, with the longest run of zeros left out.
    const { address: host } = new SocketAddress({ family: 'ipv6', address: groups.join(':') });
    const ipv6Only = option(fd, IPPROTO_IPV6, IPV6_V6ONLY) === 1;
    return { family: 'ipv6', host, port: bytes.readUInt16BE(2), ipv6Only };
  }
  return { family: 'other' };
}

// A path ends with a zero byte that may be counted; an abstract name begins with one, and all of it counts.
function pathOf(bytes: Buffer): string {
  // Node 20 pads such a name with zero bytes.
  if (bytes[0] === 0) return bytes.toString('utf8').replace(/(?<=[^\0])\0+$/, '');
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

function option(fd: number, level: number, name: number): number {
  const value = Buffer.alloc(4);
  const got = libc().getsockopt(fd, level, name, value, new Int32Array([4]));
  return got === 0 ? value.readInt32LE(0) : -1;
}
