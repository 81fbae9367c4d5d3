import { readFileSync } from 'node:fs';
import { reserve } from '../descriptors/descriptor-reserve.js';

/** A Unix socket on which somebody listens, and its path as it was given. */
export interface UnixListener {
  readonly path: string;
  readonly inode: number;
}

const ACCEPTS = 0x10000;

/** All Unix sockets of this network namespace on which somebody listens, and that have a path, as it was given. Source: proc_net(5), /proc/net/unix; Linux __SO_ACCEPTCON. */
export function unixListeners(): UnixListener[] {
  const lines = reserve
    .use(() => readFileSync('/proc/net/unix', 'utf8'))
    .split('\n')
    .slice(1);
  return lines.flatMap((line) => {
    const [, flags = '0', inode, path] = /^\S+: \S+ \S+ (\S+) \S+ \S+ +(\d+) ([^@].*)$/.exec(line) ?? [];
    const listens = (Number.parseInt(flags, 16) & ACCEPTS) !== 0;
    return listens && path !== undefined ? [{ path, inode: Number(inode) }] : [];
  });
}
