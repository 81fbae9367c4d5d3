import type { Socket } from 'node:net';
import type { PassedSocket } from './passing.js';
import { reachInGroup, reachShared } from './reach.js';
import type { GroupSocket, ReuseportGroup } from './reuseport-group.js';

/** A listener as a program gets it. */
export interface ProgramSocket extends PassedSocket {
  /** Its name within moult. */
  readonly name: string;
  /** Where every generation has a socket of its own: which one this is. */
  readonly turn?: { readonly group: ReuseportGroup; readonly socket: GroupSocket };
}

/** How long a queue that gets no more may take to be emptied. */
const MAX_WAIT_MS = 2000;
/** Who connected last has its request read by then. */
const SETTLE_MS = 200;
const LOOK_MS = 10;

/** The sockets of one generation of a program, and its turn at them. */
export class SocketSet {
  readonly sockets: readonly ProgramSocket[];
  #quietSince: number | undefined;
  #hasLeft = false;

  constructor(sockets: readonly ProgramSocket[]) {
    this.sockets = sockets;
    for (const { turn } of sockets) if (turn !== undefined) turn.socket.users += 1;
  }

  /** New connections come here from now on, as far as there is a choice. @param before where they went until now. */
  take(before?: SocketSet): void {
    for (const { turn } of this.sockets) turn?.group.choose(turn.socket);
    if (before !== undefined) before.#quietSince = performance.now();
    this.#quietSince = undefined;
  }

  /** It was started by an earlier supervisor: where the turn is another's, that may be so only from now on. */
  adopted(): this {
    if (this.sockets.some(({ turn }) => turn !== undefined && turn.group.chosen !== turn.socket))
      this.#quietSince = performance.now();
    return this;
  }

  /** Settles when nobody waits here any more who came before the turn was another's; at once where it still is. */
  async emptied(): Promise<void> {
    if (this.#quietSince === undefined) return;
    const beganMs = performance.now();
    const quietMs = () => performance.now() - (this.#quietSince ?? 0);
    while (!this.#hasLeft && (quietMs() < SETTLE_MS || this.waiting > 0)) {
      if (performance.now() - beganMs > MAX_WAIT_MS) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** How many clients wait to be accepted by this generation alone. */
  get waiting(): number {
    return this.sockets.reduce((sum, { turn }) => sum + (turn?.group.waiting(turn.socket) ?? 0), 0);
  }

  /** The generation has ended. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    for (const { turn } of this.sockets) turn?.group.leave(turn.socket);
  }

  /**
   * A connection that this generation has accepted, whether it is its turn or not.
   * @param leader the process that leads its tree.
   * @param untilMs of performance.now().
   * @param isOver whether nobody wants it any more.
   * @returns undefined when there was none in time, or there is no stream socket.
   */
  async reach(leader: number, untilMs: number, isOver: () => boolean): Promise<Socket | undefined> {
    const stream = this.firstStream;
    if (stream === undefined) return undefined;
    const { turn, fd } = stream;
    return turn === undefined
      ? reachShared(leader, fd, untilMs, isOver)
      : reachInGroup(turn.group, turn.socket, untilMs, isOver);
  }

  /** The one at which it is looked whether it is well. */
  get firstStream(): ProgramSocket | undefined {
    return this.sockets.find(({ name }) => !name.startsWith('udp:'));
  }
}
