import { chmodSync, lstatSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { asMoultError, MoultError } from '../errors.js';
import { descriptorOf } from '../node/handle.js';
import { OwnAccept } from '../node/listening/own-accept.js';
import { closeDescriptor, closeOnExec, duplicate, keepOverExec } from '../os/descriptors/descriptor.js';
import { reserve } from '../os/descriptors/descriptor-reserve.js';
import { tryToRemove } from '../os/files/remove.js';
import { descriptorSocketPair, sendBytesWithDescriptor } from '../os/sockets/descriptor-socket.js';
import { socketIdentity } from '../os/sockets/socket-identity.js';
import { checkPeer, peerCredentials } from '../os/unix-sockets/peer.js';
import { bindUnix, listenerAt, listenOn } from '../os/unix-sockets/unix-socket.js';
import { encodeFrame } from '../protocol/frame.js';
import { type Message, parseMessage } from '../protocol/messages.js';
import { PROTOCOL } from '../protocol/version.js';
import { MOULT_VERSION } from '../version.js';
import { Channel } from './channel.js';
import { privateMode } from './private-folder.js';

/** How long a peer may take to say hello. */
const HELLO_TIMEOUT_MS = 10_000;
/** How many peers may be connected at once: to a supervisor all generations of all slots are; to a generation up to two channels of each of 63 other slots. */
const MAX_PEERS = { predecessor: 192, supervisor: 512, threads: 512 } as const;

/** What a door does with a peer that has said who it is. It may throw to refuse it. */
export type Visitor = (channel: Channel, hello: Message<'hello'>) => void;

/** How many who connect wait to be let in. */
const BACKLOG = 511;
/** How often a door that is kept looks whether its path still leads to it. */
const LOOK_MS = 1000;
/** How long a socket whose path is gone may take to let in who had connected to it before. */
const LAST_GUESTS_MS = 1000;

/**
 * A private Unix socket on which other processes of moult open channels. Only the same user may enter, root, and who is trusted.
 * It does not keep the process alive.
 */
export class Door {
  readonly path: string;
  #accept: OwnAccept | undefined;
  /** What its path leads to, so that it sees when that is another socket, or none. */
  #identity: string | undefined;
  #role: keyof typeof MAX_PEERS;
  #visit: Visitor;
  #looking: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(path: string, role: keyof typeof MAX_PEERS, visit: Visitor) {
    this.path = path;
    this.#role = role;
    this.#visit = visit;
  }

  /**
   * Opens a door at this path, with mode 0600 (0660 where other users are trusted).
   * @throws MOULT_SYSTEM_CALL when it cannot be bound.
   */
  static open(path: string, role: keyof typeof MAX_PEERS, visit: Visitor): Door {
    const door = new Door(path, role, visit);
    door.#listen(door.#bound());
    return door;
  }

  /**
   * Opens a door at this path where one is bound already, by the program that this process ran before an exec.
   * @param fd of the bound socket; belongs to the door.
   */
  static inherited(fd: number, path: string, role: keyof typeof MAX_PEERS, visit: Visitor): Door {
    const door = new Door(path, role, visit);
    closeOnExec(fd);
    door.#listen(fd);
    // Whatever lies there may be another one by now: then it is made anew by the next look.
    door.#identity = isAnsweredHere(path) ? (identityAt(path) ?? undefined) : undefined;
    return door;
  }

  /**
   * Makes the socket anew where its path does not lead to it any more.
   * @returns whether it had to.
   * @throws MOULT_SYSTEM_CALL when it cannot be bound; who has connected before is let in all the same.
   */
  mend(): boolean {
    // One that waits for an exec is opened by the next program, by its descriptor: another one bound meanwhile would end with
    // this program, and its path would lead nowhere.
    if (this.#isClosed || this.#accept === undefined || this.#isThere()) return false;
    // The folder is private: whatever lies there has been put in the place of this socket.
    rmSync(this.path, { recursive: true, force: true });
    this.#change(this.#bound());
    return true;
  }

  /**
   * Goes on with a socket that the supervisor has bound at the path, because this process may not enter the folder any more.
   * One that may makes its own in {@link mend}.
   * @param fd of the bound socket; belongs to the door.
   * @returns whether it does.
   * @throws MOULT_SYSTEM_CALL when it cannot listen; who comes at the socket before is let in all the same.
   */
  take(fd: number): boolean {
    const isUnseen = identityAt(this.path) === null;
    if (this.#isClosed || this.#accept === undefined || !isUnseen) {
      closeDescriptor(fd);
      return false;
    }
    this.#change(fd);
    return true;
  }

  // Lets in at this socket from now on, and for a while who has connected to the one before.
  #change(fd: number): void {
    const before = this.#accept;
    try {
      this.#listen(fd);
    } catch (error) {
      // Its path leads to nobody: the next look must not take it for this door.
      closeDescriptor(fd);
      this.#identity = undefined;
      throw error;
    }
    setTimeout(() => before?.close(), LAST_GUESTS_MS).unref();
  }

  /** Looks from now on whether the path still leads here, and makes the socket anew where it does not, as soon as that goes. */
  keep(): void {
    this.#looking = setInterval(() => {
      try {
        this.mend();
      } catch {
        // The disk is full, or the folder is not there yet: moult tries again.
      }
    }, LOOK_MS).unref();
  }

  /**
   * Lets nobody in until this process has executed another program, which opens the door again by the descriptor:
   * who connects meanwhile waits.
   * @returns the descriptor, which is open over the exec.
   */
  keepOverExec(): number {
    const fd = reserve.use(() => duplicate(this.#accept?.fd ?? -1));
    this.#accept?.close();
    this.#accept = undefined;
    keepOverExec(fd);
    return fd;
  }

  /** The exec failed: lets in who waits, and who comes. @param fd as {@link keepOverExec} returned it. */
  resume(fd: number): void {
    closeOnExec(fd);
    this.#listen(fd);
  }

  /** Lets nobody in any more, and removes the path. Channels that are open stay open. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#looking);
    this.#accept?.close();
    if (identityAt(this.path) === this.#identity) tryToRemove(this.path);
  }

  // Bound here and not by Node, which would remove the path with the handle, whatever it leads to by then.
  #bound(): number {
    const fd = bindUnix(this.path);
    if (typeof fd === 'string') {
      const details = { reason: fd };
      throw new MoultError('MOULT_SYSTEM_CALL', `listening on ${this.path} failed: ${fd}`, { details });
    }
    try {
      closeToOthers(this.path);
    } catch (cause) {
      closeDescriptor(fd);
      tryToRemove(this.path);
      const what = `closing ${this.path} to others failed: ${String(cause)}`;
      throw new MoultError('MOULT_SYSTEM_CALL', what, { cause });
    }
    this.#identity = identityAt(this.path) ?? undefined;
    return fd;
  }

  #listen(fd: number): void {
    // One that came over an exec accepts already.
    if (socketIdentity(fd)?.isListening !== true) listenOn(fd, BACKLOG);
    this.#accept = new OwnAccept(fd, MAX_PEERS[this.#role], (socket) => this.#enter(socket));
  }

  // A folder that this process may not enter any more tells nothing.
  #isThere(): boolean {
    const found = identityAt(this.path);
    return found === null || (found !== undefined && found === this.#identity);
  }

  #enter(socket: Socket): void {
    let mine = -1;
    let theirs = -1;
    try {
      const fd = descriptorOf(socket);
      const peer = peerCredentials(fd);
      checkPeer(peer);
      [mine, theirs] = descriptorSocketPair();
      const greeting = {
        type: 'greeting',
        protocol: PROTOCOL,
        role: this.#role === 'threads' ? 'predecessor' : this.#role,
        moult: MOULT_VERSION,
        pid: process.pid,
        parts: true,
      };
      sendBytesWithDescriptor(fd, encodeFrame(greeting), theirs);
      closeDescriptor(theirs);
      theirs = -1;
      const channel = new Channel(socket, mine, peer, parseMessage);
      mine = -1;
      channel.unref();
      this.#await(channel);
      socket.resume();
    } catch (error) {
      for (const fd of [mine, theirs]) if (fd >= 0) closeDescriptor(fd);
      socket.on('error', () => {});
      socket.end(encodeFrame({ type: 'refused', error: withoutRoom(error).report() }));
      socket.resume();
    }
  }

  #await(channel: Channel): void {
    const timer = setTimeout(() => channel.close(), HELLO_TIMEOUT_MS).unref();
    channel.closed.then(() => clearTimeout(timer));
    channel.on('hello', (hello) => {
      clearTimeout(timer);
      channel.off('hello');
      channel.takesParts = hello.parts === true;
      try {
        if (hello.protocol < PROTOCOL.min || hello.protocol > PROTOCOL.max) {
          throw new MoultError(
            'MOULT_PROTOCOL_VERSION',
            `expected protocol ${PROTOCOL.max}, received ${hello.protocol}`,
          );
        }
        this.#visit(channel, hello);
      } catch (error) {
        channel.send({ type: 'refused', error: asMoultError(error, 'MOULT_HANDOVER_ABORTED').report() });
        channel.close();
      }
    });
  }
}

function withoutRoom(error: unknown): MoultError {
  const told = asMoultError(error, 'MOULT_SYSTEM_CALL');
  const { reason } = told.details ?? {};
  if (reason !== 'EMFILE' && reason !== 'ENFILE') return told;
  const what = `process ${process.pid} has no descriptors left, so it cannot accept a connection: raise its limit (ulimit -n)`;
  return new MoultError('MOULT_DESCRIPTORS', what, { cause: error });
}

// The folder is private already; this is the second lock. With Node's permissions a service may not be able to turn it.
function closeToOthers(path: string): void {
  try {
    chmodSync(path, privateMode());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_ACCESS_DENIED') throw error;
  }
}

/** Whether this process listens at a path, or one whose queue is full: who upgrades has nobody let in for a while. */
function isAnsweredHere(path: string): boolean {
  try {
    const listener = listenerAt(path);
    return listener === null || listener?.pid === process.pid;
  } catch {
    // There is no descriptor for the question: nothing is changed on a guess.
    return true;
  }
}

/** What lies at a path, by its inode; undefined where nothing does, null where that cannot be seen. */
function identityAt(path: string): string | undefined | null {
  try {
    const { dev, ino, birthtimeMs } = lstatSync(path);
    // An inode that was removed may be given to the next file at once.
    return `${dev}:${ino}:${birthtimeMs}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? undefined : null;
  }
}
