import { MoultError } from '../errors.js';
import { closeDescriptor, duplicate, shutDownListener } from '../os/descriptor.js';
import { type Exception, sendTo, sharesListening, waitingToBeAccepted } from '../os/reuseport.js';
import { socketIdentity } from '../os/socket-identity.js';
import { listenAgain, openShared } from './bind.js';
import type { ListenOption } from './listen-option.js';

type TcpOption = Extract<ListenOption, { family: 'tcp' | 'udp' }>;

/** One of several sockets of a listener. */
export interface Lane {
  readonly fd: number;
  /** How many generations have it. */
  users: number;
}

/**
 * A TCP listener of which each generation of a program has a socket of its own, a lane. New connections go to one
 * lane, and which one that is changes in one step; so a program that cannot be told to wait has nothing to accept
 * before its time, and what another one does to its socket is its own affair.
 */
export class Lanes {
  readonly #option: TcpOption;
  /** As the kernel counts them. */
  #lanes: Lane[] = [];
  #chosen: Lane;
  #isClosed = false;
  /** Where connections from these ports of ours go. */
  readonly #exceptions = new Map<number, Lane>();

  /**
   * Opens the first lane.
   * @param kept the only one that there is already; the caller's copy stays the caller's.
   * @throws MOULT_LISTEN_FAILED; MOULT_SYSTEM_CALL where there can be only one socket.
   */
  constructor(option: TcpOption, kept: number | undefined) {
    if (kept !== undefined && !sharesListening(kept))
      throw new MoultError('MOULT_SYSTEM_CALL', 'it is not shared');
    const fd = kept === undefined ? openShared(option, true) : duplicate(kept);
    const address = socketIdentity(fd)?.address;
    // Port 0 is decided by now.
    this.#option = address !== undefined && 'port' in address ? { ...option, port: address.port } : option;
    this.#chosen = { fd, users: 0 };
    this.#lanes = [this.#chosen];
    try {
      this.#choose();
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
  }

  /** The one to which new connections go. */
  get chosen(): Lane {
    return this.#chosen;
  }

  /** One more, to which nothing goes. */
  add(): Lane {
    this.#settle();
    const lane = { fd: openShared(this.#option, false), users: 0 };
    this.#lanes.push(lane);
    return lane;
  }

  /** New connections go there from now on. @returns whether they went elsewhere before. */
  choose(lane: Lane): boolean {
    const before = this.#chosen;
    if (before === lane) return false;
    this.#chosen = lane;
    this.#settle();
    if (before.users === 0) this.#drop(before);
    return true;
  }

  /** A generation does not have it any more; the last one closes it, unless new connections go there. */
  leave(lane: Lane): void {
    lane.users -= 1;
    if (lane.users <= 0 && lane !== this.#chosen) this.#drop(lane);
  }

  /** How many clients wait there to be accepted. */
  waiting({ fd }: Lane): number {
    return waitingToBeAccepted(fd);
  }

  /** Connections of this machine from this port go to a lane, until they are told otherwise. */
  except(port: number, lane: Lane | undefined): void {
    if (lane === undefined) this.#exceptions.delete(port);
    else this.#exceptions.set(port, lane);
    this.#settle();
  }

  /** Has the chosen one listen again where its program has shut it down. @returns whether it had. */
  repair(): boolean {
    if (!listenAgain(this.#chosen.fd)) return false;
    this.#forget(this.#chosen);
    this.#lanes.push(this.#chosen);
    this.#choose();
    return true;
  }

  /** Lets go of our copies of all of them. */
  close(): void {
    for (const { fd } of this.#lanes) closeDescriptor(fd);
    this.#lanes = [];
    this.#isClosed = true;
  }

  #drop(lane: Lane): void {
    if (this.#isClosed) return;
    // For every process that has a copy: only then it is known not to be counted any more.
    shutDownListener(lane.fd);
    this.#settle();
    closeDescriptor(lane.fd);
  }

  // A program may have shut its own down.
  #settle(): void {
    for (const lane of [...this.#lanes])
      if (lane !== this.#chosen && socketIdentity(lane.fd)?.isListening !== true) this.#forget(lane);
    this.#choose();
  }

  // The kernel puts the last into the place of one that leaves.
  #forget(lane: Lane): void {
    const at = this.#lanes.indexOf(lane);
    const last = this.#lanes.pop();
    if (last !== undefined && last !== lane && at >= 0) this.#lanes[at] = last;
    for (const [port, one] of this.#exceptions) if (one === lane) this.#exceptions.delete(port);
  }

  #choose(): void {
    const exceptions: Exception[] = [...this.#exceptions].map(([port, lane]) => ({
      port,
      index: this.#lanes.indexOf(lane),
    }));
    sendTo(this.#chosen.fd, this.#lanes.indexOf(this.#chosen), exceptions);
  }
}
