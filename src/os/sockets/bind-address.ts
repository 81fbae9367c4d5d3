import { isIPv4 } from 'node:net';
import { closeDescriptor, shareAddress } from '../descriptors/descriptor.js';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  lastErrorName,
  libc,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_STREAM,
} from '../libc.js';
import { shareListening } from './reuseport.js';

/**
 * Binds a socket of the Internet. It blocks, as those that systemd passes do: most programs expect that of what
 * they inherit, and those that do not want it change it.
 * @param host an IPv4 or IPv6 address; `::` takes IPv4 too.
 * @param isShared whether other sockets of ours will listen there too.
 * @returns the descriptor (a stream does not listen yet), or the name of the error, such as EADDRINUSE.
 */
export function bindAddress(
  transport: 'tcp' | 'udp',
  host: string,
  port: number,
  isShared = false,
): number | string {
  const type = transport === 'tcp' ? SOCK_STREAM : SOCK_DGRAM;
  const fd = libc().socket(isIPv4(host) ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return lastErrorName();
  // Connections of an earlier life that linger must not keep the port. Of UDP it would let others in.
  if (transport === 'tcp') shareAddress(fd, true);
  if (isShared) shareListening(fd);
  if (host === '::') libc().setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, Buffer.alloc(4), 4);
  const address = socketAddress(host, port);
  if (libc().bind(fd, address, address.length) === 0) return fd;
  const reason = lastErrorName();
  closeDescriptor(fd);
  return reason;
}

/** Has a bound stream socket listen. @returns the name of the error, or undefined. */
export function beginToListen(fd: number, backlog: number): string | undefined {
  return libc().listen(fd, backlog) === 0 ? undefined : lastErrorName();
}

/** An address of the Internet as the kernel takes it. Source: ip(7), ipv6(7). */
export function socketAddress(host: string, port: number): Buffer {
  if (isIPv4(host)) {
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(port, 2);
    addressBytes(host).copy(address, 4);
    return address;
  }
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  addressBytes(host).copy(address, 8);
  return address;
}

/** The bytes of an address in network order: 4, or 16. */
export function addressBytes(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from(host.split('.').map(Number));
  const [left = '', right] = withoutDots(host.split('%')[0] ?? '').split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  const groups = [...head, ...(right === undefined ? [] : zeros), ...tail];
  const bytes = Buffer.alloc(16);
  groups.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), i * 2);
  });
  return bytes;
}

// `::ffff:127.0.0.1` as `::ffff:7f00:1`.
function withoutDots(host: string): string {
  const [, head, dotted] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(host) ?? [];
  if (head === undefined || dotted === undefined) return host;
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number);
  return `${head}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}
