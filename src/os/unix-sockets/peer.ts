import { MoultError } from '../../errors.js';
import { closeDescriptor } from '../descriptors/descriptor.js';
import { lastErrorName, libc, POLLIN, SO_PEERCRED, SOL_SOCKET, systemCallError } from '../libc.js';
import { exists, signal } from '../processes/process.js';

/** Who is at the other end of a Unix socket, as the kernel knows it. Source: unix(7), SO_PEERCRED. */
export interface PeerCredentials {
  /** 0 for a process that has no number here, because it lives in another PID namespace. Source: pid_namespaces(7). */
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

const userAtStart = process.geteuid?.() ?? -1;

let trustedUids: ReadonlySet<number> = new Set();

/** So many users can be told to each generation. */
const MAX_TRUSTED = 64;

/** Has processes of these users treated like those of this process's own from now on. @throws MOULT_BAD_OPTION when they are too many. */
export function trustUids(uids: readonly number[]): void {
  if (uids.length > MAX_TRUSTED) {
    const what = `expected at most ${MAX_TRUSTED} users that are allowed to take over (--allow-uid), received ${uids.length}`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  trustedUids = new Set(uids);
}

/** The users that are trusted besides this process's own and root. */
export function trusted(): number[] {
  return [...trustedUids];
}

/**
 * Checks that a peer belongs to the same user as this process, to root, or to one that is trusted.
 * @throws MOULT_PEER_REFUSED
 */
export function checkPeer(peer: PeerCredentials): void {
  if (isTrusted(peer.uid)) return;
  const users = [...new Set([effectiveUser(), ...trustedUids])];
  throw new MoultError(
    'MOULT_PEER_REFUSED',
    `expected a process of user ${users.join(' or ')}, process ${peer.pid} is of user ${peer.uid}`,
  );
}

/** Whether processes of this user are treated like those of this process's own. */
export function isTrusted(uid: number): boolean {
  // The user as whom this process began: its supervisor is that user's still when this process has become another's.
  return uid === effectiveUser() || uid === userAtStart || uid === 0 || trustedUids.has(uid);
}

function effectiveUser(): number {
  return process.geteuid?.() ?? -1;
}

const SIGKILL = 9;

/**
 * A process held by a descriptor, so that its number can never come to mean another process. One without a
 * number here, or of another user, can be neither ended nor waited for: who started it must.
 */
export class ProcessHandle {
  readonly pid: number;
  #pidfd: number;
  #hadEnded: boolean;

  /** @param pid as {@link PeerCredentials} have it. */
  constructor(pid: number) {
    this.pid = pid;
    // To kill(2), 0 is the caller's own group.
    this.#pidfd = pid > 0 ? libc().pidfdOpen(pid) : -1;
    this.#hadEnded = pid > 0 && this.#pidfd < 0 && lastErrorName() === 'ESRCH';
  }

  /** Whether it is known by its number. One that is not never counts as ended. */
  get isKnown(): boolean {
    return this.pid > 0;
  }

  /** Whether it has ended. */
  hasEnded(): boolean {
    return this.#waitMs(0);
  }

  /**
   * Ends it with SIGKILL and waits until it is gone, so that nothing that it held is served any more.
   * @returns whether it is gone; it is not when it may not be ended from here, or the kernel does not let go
   *   of it within the time.
   */
  kill(withinMs = 2000): boolean {
    return this.#waitMs(this.#signalled() ? withinMs : 0);
  }

  close(): void {
    if (this.#pidfd >= 0) closeDescriptor(this.#pidfd);
    this.#pidfd = -1;
  }

  #signalled(): boolean {
    if (!this.isKnown) return false;
    if (this.#pidfd >= 0)
      return libc().pidfdSendSignal(this.#pidfd, SIGKILL) === 0 || lastErrorName() !== 'EPERM';
    // No descriptor could be opened for it (EMFILE, an old kernel): its number must do.
    return !this.#hadEnded && signal(this.pid, 'SIGKILL');
  }

  // A pidfd is readable once the process has ended.
  #waitMs(timeoutMs: number): boolean {
    if (this.#hadEnded) return true;
    if (!this.isKnown) return false;
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
