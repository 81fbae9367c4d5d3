import { MoultError } from '../errors.js';
import { closeDescriptor } from './descriptor.js';
import { lastErrorName, libc, POLLIN, SO_PEERCRED, SOL_SOCKET, systemCallError } from './libc.js';
import { exists, signal } from './process.js';

/** Who is at the other end of a Unix socket, as the kernel knows it. Source: unix(7), SO_PEERCRED. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** The credentials of the process at the other end of a Unix socket. */
export function peerCredentials(socket: number): PeerCredentials {
  const value = Buffer.alloc(12);
  if (libc().getsockopt(socket, SOL_SOCKET, SO_PEERCRED, value, new Int32Array([12])) !== 0) {
    throw systemCallError('getsockopt(SO_PEERCRED)');
  }
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/**
 * Checks that a peer belongs to the same user as this process, or is root.
 * @throws MOULT_PEER_REFUSED
 */
export function checkPeer(peer: PeerCredentials): void {
  const ours = process.geteuid?.() ?? -1;
  if (peer.uid !== ours && peer.uid !== 0) {
    throw new MoultError(
      'MOULT_PEER_REFUSED',
      `expected a process of user ${ours}, process ${peer.pid} is of user ${peer.uid}`,
    );
  }
}

const SIGKILL = 9;

/** A process held by a descriptor, so that its number can never come to mean another process. */
export class ProcessHandle {
  readonly pid: number;
  #pidfd: number;
  #hadEnded: boolean;

  constructor(pid: number) {
    this.pid = pid;
    this.#pidfd = libc().pidfdOpen(pid);
    this.#hadEnded = this.#pidfd < 0 && lastErrorName() === 'ESRCH';
  }

  /** Whether it has ended. */
  hasEnded(): boolean {
    return this.#waitMs(0);
  }

  /**
   * Ends it with SIGKILL and waits until it is gone, so that nothing that it held is served any more.
   * @returns whether it is gone; it is not when the kernel does not let go of it within the time.
   */
  kill(withinMs = 2000): boolean {
    if (this.#pidfd >= 0) libc().pidfdSendSignal(this.#pidfd, SIGKILL);
    // No descriptor could be opened for it (EMFILE, an old kernel): its number must do.
    else if (!this.#hadEnded) signal(this.pid, 'SIGKILL');
    return this.#waitMs(withinMs);
  }

  close(): void {
    if (this.#pidfd >= 0) closeDescriptor(this.#pidfd);
    this.#pidfd = -1;
  }

  // A pidfd is readable once the process has ended.
  #waitMs(timeoutMs: number): boolean {
    if (this.#hadEnded) return true;
    const deadlineMs = performance.now() + timeoutMs;
    const request = Buffer.alloc(8);
    request.writeInt32LE(this.#pidfd, 0);
    request.writeInt16LE(POLLIN, 4);
    for (;;) {
      const leftMs = Math.max(0, Math.ceil(deadlineMs - performance.now()));
      if (this.#pidfd < 0) {
        if (!exists(this.pid)) return true;
        libc().poll(Buffer.alloc(8), 0, Math.min(leftMs, 5));
      } else if (libc().poll(request, 1, leftMs) > 0) return true;
      // A signal may have interrupted the wait.
      if (performance.now() >= deadlineMs) return false;
    }
  }
}
