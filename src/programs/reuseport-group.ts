import { MoultError } from '../errors.js';
import { closeDescriptor, duplicate, shutDownListener } from '../os/descriptors/descriptor.js';
import { type Exception, sendTo, sharesListening, waitingToBeAccepted } from '../os/sockets/reuseport.js';
import { socketIdentity } from '../os/sockets/socket-identity.js';
import type { ListenOption } from './listen-option.js';
import { listenAgain, openShared } from './open-sockets.js';

type TcpOption = Extract<ListenOption, { family: 'tcp' | 'udp' }>;

/** One of several sockets of a listener. */
export interface GroupSocket {
  readonly fd: number;
  /** How many generations have it. */
  users: number;
}

/**
 * A TCP listener of which each generation of a program has a socket of its own. New connections go to one
 * of them, and which one that is changes in one step; so a program that cannot be told to wait has nothing to accept
 * before its time, and what another one does to its socket is its own affair.
 */
export class ReuseportGroup {
  readonly #option: TcpOption;
  /** As the kernel counts them. */
  #sockets: GroupSocket[] = [];
  #chosen: GroupSocket;
  #isClosed = false;
  /** Where connections from these ports of ours go. */
  readonly #exceptions = new Map<number, GroupSocket>();
  readonly #onOrder: (fds: readonly number[]) => void;
  #told = '';

  /**
   * Opens the first socket, or goes on with those that there are.
   * @param onOrder is told of the sockets as the kernel counts them, whenever that has changed.
   * @param kept those that there are already, as the kernel counts them; the caller's copies stay the caller's.
   * @param chosen which of them new connections are to go to.
   * @throws MOULT_LISTEN_FAILED; MOULT_SYSTEM_CALL where there can be only one socket.
   */
  constructor(
    option: TcpOption,
    onOrder: (fds: readonly number[]) => void,
    kept: readonly number[] = [],
    chosen = 0,
  ) {
    if (!kept.every(sharesListening)) throw new MoultError('MOULT_SYSTEM_CALL', 'it is not shared');
    const fds = kept.length === 0 ? [openShared(option, true)] : kept.map(duplicate);
    this.#onOrder = onOrder;
    this.#sockets = fds.map((fd) => ({ fd, users: 0 }));
    this.#chosen = this.#sockets[chosen] as GroupSocket;
    const address = socketIdentity(this.#chosen.fd)?.address;
    // Port 0 is decided by now.
    this.#option = address !== undefined && 'port' in address ? { ...option, port: address.port } : option;
    try {
      this.#choose();
    } catch (error) {
      for (const fd of fds) closeDescriptor(fd);
      throw error;
    }
  }

  /** All of them, as the kernel counts them. */
  get all(): readonly GroupSocket[] {
    return this.#sockets;
  }

  /** The one to which new connections go. */
  get chosen(): GroupSocket {
    return this.#chosen;
  }

  /** One more, to which nothing goes. */
  add(): GroupSocket {
    this.#settle();
    const socket = { fd: openShared(this.#option, false), users: 0 };
    this.#sockets.push(socket);
    return socket;
  }

  /** New connections go there from now on. @returns whether they went elsewhere before. */
  choose(socket: GroupSocket): boolean {
    const before = this.#chosen;
    if (before === socket) return false;
    this.#chosen = socket;
    this.#settle();
    if (before.users === 0) this.#drop(before);
    return true;
  }

  /** A generation does not have it any more; the last one closes it, unless new connections go there. */
  leave(socket: GroupSocket): void {
    socket.users -= 1;
    if (socket.users <= 0 && socket !== this.#chosen) this.#drop(socket);
  }

  /** How many clients wait there to be accepted. */
  waiting({ fd }: GroupSocket): number {
    return waitingToBeAccepted(fd);
  }

  /** Connections of this machine from this port go to this socket, until they are told otherwise. */
  except(port: number, socket: GroupSocket | undefined): void {
    if (socket === undefined) this.#exceptions.delete(port);
    else this.#exceptions.set(port, socket);
    this.#settle();
  }

  /** Has the chosen one listen again where its program has shut it down. @returns whether it had. */
  repair(): boolean {
    if (!listenAgain(this.#chosen.fd)) return false;
    this.#forget(this.#chosen);
    this.#sockets.push(this.#chosen);
    this.#choose();
    return true;
  }

  /** Lets go of our copies of all of them. */
  close(): void {
    for (const { fd } of this.#sockets) closeDescriptor(fd);
    this.#sockets = [];
    this.#isClosed = true;
  }

  #drop(socket: GroupSocket): void {
    if (this.#isClosed) return;
    // For every process that has a copy: only then it is known not to be counted any more.
    shutDownListener(socket.fd);
    // At once: the kernel has moved the chosen one, and until it is told where to, it gives clients to any.
    this.#forget(socket);
    this.#choose();
    closeDescriptor(socket.fd);
    this.#settle();
  }

  // A program may have shut its own down.
  #settle(): void {
    for (const socket of [...this.#sockets])
      if (socket !== this.#chosen && socketIdentity(socket.fd)?.isListening !== true) this.#forget(socket);
    this.#choose();
  }

  // The kernel puts the last into the place of one that leaves.
  #forget(socket: GroupSocket): void {
    const at = this.#sockets.indexOf(socket);
    const last = this.#sockets.pop();
    if (last !== undefined && last !== socket && at >= 0) this.#sockets[at] = last;
    for (const [port, one] of this.#exceptions) if (one === socket) this.#exceptions.delete(port);
  }

  #choose(): void {
    const exceptions: Exception[] = [...this.#exceptions].map(([port, socket]) => ({
      port,
      index: this.#sockets.indexOf(socket),
    }));
    sendTo(this.#chosen.fd, this.#sockets.indexOf(this.#chosen), exceptions);
    this.#tellOrder();
  }

  #tellOrder(): void {
    const fds = this.#sockets.map(({ fd }) => fd);
    const order = fds.join();
    if (order === this.#told) return;
    this.#told = order;
    this.#onOrder(fds);
  }
}
