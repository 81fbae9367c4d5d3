import { readFileSync } from 'node:fs';
import { socketsOf, treeOf } from '../os/processes/proc-tree.js';
import { socketIdentity } from '../os/sockets/socket-identity.js';

const ESTABLISHED = '01';

/**
 * The peers of the TCP connections that a tree has on these listeners. Of Unix sockets nothing is told.
 * Source: proc(5), /proc/net/tcp.
 * @returns addresses such as `127.0.0.1:50312`.
 */
export function connectionsOf(leader: number, listeners: readonly number[]): string[] {
  const ports = new Set<number>();
  for (const fd of listeners) {
    const identity = socketIdentity(fd);
    const address = identity?.address;
    if (identity?.type === 'stream' && address !== undefined && 'port' in address) ports.add(address.port);
  }
  if (ports.size === 0) return [];
  const own = new Set<number>();
  for (const pid of treeOf(leader)) for (const inode of socketsOf(pid)) own.add(inode);
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) =>
    lines(path).flatMap((line) => {
      const [, local = '', remote = '', state, , , , , , inode] = line.trim().split(/\s+/);
      if (state !== ESTABLISHED || !own.has(Number(inode)) || !ports.has(portOf(local))) return [];
      return [peerOf(remote)];
    }),
  );
}

function lines(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n').slice(1);
  } catch {
    // Without IPv6 there is no such file.
    return [];
  }
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.indexOf(':') + 1), 16);
}

// Each 32 bits are written as a number of this machine, which is little-endian.
function peerOf(address: string): string {
  const [hex = ''] = address.split(':');
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => [...Buffer.from(word, 'hex').reverse()]);
  const last = bytes.slice(-4).join('.');
  const isMapped = bytes.length === 16 && bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255;
  if (bytes.length === 4 || isMapped) return `${last}:${portOf(address)}`;
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[i * 2] ?? 0) * 256 + (bytes[i * 2 + 1] ?? 0)).toString(16),
  );
  return `[${groups.join(':')}]:${portOf(address)}`;
}
