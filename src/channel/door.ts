import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { asMoultError, MoultError } from '../errors.js';
import { descriptorOf } from '../node/handle.js';
import { markInternal } from '../node/listen-hook.js';
import { closeDescriptor } from '../os/descriptor.js';
import { descriptorSocketPair, sendBytesWithDescriptor } from '../os/descriptor-socket.js';
import { checkPeer, peerCredentials } from '../os/peer.js';
import { encodeFrame } from '../protocol/frame.js';
import type { Message } from '../protocol/messages.js';
import { PROTOCOL } from '../protocol/version.js';
import { MOULT_VERSION } from '../version.js';
import { Channel } from './channel.js';
import { privateMode } from './private-folder.js';

/** How long a peer may take to say hello. */
const HELLO_TIMEOUT_MS = 10_000;
/** So many peers may be connected at once: to a supervisor all generations of all slots are; to a generation up to two channels of each of 63 other slots. */
const MAX_PEERS = { predecessor: 192, supervisor: 512, threads: 512 } as const;

/** What a door does with a peer that has said who it is. It may throw to refuse it. */
export type Visitor = (channel: Channel, hello: Message<'hello'>) => void;

/**
 * A private Unix socket on which other processes of moult open channels. Only the same user may enter, root, and who is trusted.
 * It does not keep the process alive.
 */
export class Door {
  readonly path: string;
  #server: Server;
  #role: keyof typeof MAX_PEERS;
  #visit: Visitor;

  private constructor(path: string, role: keyof typeof MAX_PEERS, visit: Visitor) {
    this.path = path;
    this.#role = role;
    this.#visit = visit;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#enter(socket));
    this.#server.maxConnections = MAX_PEERS[role];
    markInternal(this.#server);
  }

  /**
   * Opens a door at this path, with mode 0600 (0660 where other users are trusted).
   * @throws MOULT_SYSTEM_CALL when it cannot be bound.
   */
  static open(path: string, role: keyof typeof MAX_PEERS, visit: Visitor): Promise<Door> {
    const door = new Door(path, role, visit);
    return new Promise((resolve, reject) => {
      door.#server.once('error', (cause) =>
        reject(
          new MoultError('MOULT_SYSTEM_CALL', `listening on ${path} failed: ${cause.message}`, { cause }),
        ),
      );
      door.#server.listen(path, () => {
        closeToOthers(path);
        door.#server.unref();
        resolve(door);
      });
    });
  }

  /** Lets nobody in any more, and removes the path. Channels that are open stay open. */
  close(): void {
    this.#server.close();
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
      };
      sendBytesWithDescriptor(fd, encodeFrame(greeting), theirs);
      closeDescriptor(theirs);
      theirs = -1;
      const channel = new Channel(socket, mine, peer);
      mine = -1;
      channel.unref();
      this.#await(channel);
      socket.resume();
    } catch (error) {
      for (const fd of [mine, theirs]) if (fd >= 0) closeDescriptor(fd);
      socket.end(encodeFrame({ type: 'refused', error: asMoultError(error, 'MOULT_SYSTEM_CALL').report() }));
      socket.on('error', () => {});
      socket.resume();
    }
  }

  #await(channel: Channel): void {
    const timer = setTimeout(() => channel.close(), HELLO_TIMEOUT_MS).unref();
    channel.closed.then(() => clearTimeout(timer));
    channel.on('hello', (hello) => {
      clearTimeout(timer);
      channel.off('hello');
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

// The folder is private already; this is the second lock. With Node's permissions a service may not be able to turn it.
function closeToOthers(path: string): void {
  try {
    chmodSync(path, privateMode());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_ACCESS_DENIED') throw error;
  }
}
