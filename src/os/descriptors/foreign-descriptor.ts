import { fstatSync, readdirSync, readlinkSync } from 'node:fs';
import { MoultError } from '../../errors.js';
import { libc, systemCallError } from '../libc.js';
import { closeDescriptor } from './descriptor.js';

/**
 * A copy of a socket that another process has open; the caller closes it.
 * Source: pidfd_getfd(2), since Linux 5.6. Who may trace the process may have it: as the same user, unless
 * kernel.yama.ptrace_scope is more than 0, with CAP_SYS_PTRACE in any case.
 * @returns undefined where the process has no such socket.
 * @throws MOULT_SYSTEM_CALL where that may not be known, or the socket not be had.
 */
export function copySocketOf(pid: number, inode: number): number | undefined {
  const theirs = descriptorsOf(pid, inode);
  if (theirs.length === 0) return undefined;
  const { pidfdOpen, pidfdGetFd } = libc();
  const process = pidfdOpen(pid);
  if (process < 0) return undefined;
  try {
    for (const fd of theirs) {
      const copy = pidfdGetFd(process, fd);
      if (copy < 0) throw systemCallError('pidfd_getfd', `process ${pid}`);
      if (inodeOf(copy) === inode) return copy;
      // It has put another one in its place just now.
      closeDescriptor(copy);
    }
    return undefined;
  } finally {
    closeDescriptor(process);
  }
}

/**
 * A copy of the descriptor of this number of another process; the caller closes it. Who may have it: see {@link copySocketOf};
 * with a `ptrace_scope` of 1 also whoever has started that process.
 * @throws MOULT_SYSTEM_CALL where it cannot be had.
 */
export function copyDescriptorOf(pid: number, fd: number): number {
  const { pidfdOpen, pidfdGetFd } = libc();
  const process = pidfdOpen(pid);
  if (process < 0) throw systemCallError('pidfd_open', `process ${pid}`);
  try {
    const copy = pidfdGetFd(process, fd);
    if (copy < 0) throw systemCallError('pidfd_getfd', `process ${pid}`);
    return copy;
  } finally {
    closeDescriptor(process);
  }
}

/** What names a socket for as long as it is open anywhere. */
export function inodeOf(fd: number): number {
  return Number(fstatSync(fd, { bigint: true }).ino);
}

function descriptorsOf(pid: number, inode: number): number[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder)
      .filter((fd) => linkOf(`${folder}/${fd}`) === `socket:[${inode}]`)
      .map(Number);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    if (reason === 'ENOENT') return [];
    throw new MoultError('MOULT_SYSTEM_CALL', `${folder} cannot be read: ${reason}`, { details: { reason } });
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
