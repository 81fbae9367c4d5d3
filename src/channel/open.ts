import { lstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import { MoultError } from '../errors.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { reserve } from '../os/descriptors/descriptor-reserve.js';
import { receiveBytesWithDescriptors, sendDescriptors } from '../os/sockets/descriptor-socket.js';
import { checkPeer, type PeerCredentials, peerCredentials } from '../os/unix-sockets/peer.js';
import {
  connectUnix,
  connectUnixNow,
  isReadable,
  readExactly,
  waitReadable,
  writeAll,
} from '../os/unix-sockets/unix-socket.js';
import { decodeBody, decodeHeader, encodeFrame, type Frame, HEADER_BYTES } from '../protocol/frame.js';
import { type Message, type MessageType, parseMessage } from '../protocol/messages.js';
import { PartsReader } from '../protocol/parts.js';
import { commonVersion } from '../protocol/version.js';
import { MOULT_VERSION } from '../version.js';
import { Beside, type Incoming } from './beside.js';
import { Channel } from './channel.js';

/** What the opening side says of itself. */
export type Introduction = Omit<Message<'hello'>, 'type' | 'protocol' | 'moult' | 'pid' | 'parts'>;

/**
 * The opening of a channel, spoken synchronously: a service must have its listeners at its first listen()
 * call, as it would have them from the kernel. Ends by {@link toChannel} or {@link abandon}.
 */
export class Opening {
  readonly greeting: Message<'greeting'>;
  readonly peer: PeerCredentials;
  #fd: number;
  #records: number;
  #deadlineMs: number;
  #receivedTag = 0;
  #sentTag = 0;

  /**
   * Connects, is greeted, and says hello.
   * @param path of the socket, or the descriptor of one that is connected.
   * @param timeoutMs for the whole opening, up to {@link toChannel}.
   * @param owners the users whose processes may answer root, besides root's own and those that are trusted; by default those
   *   that may have put a socket at this path.
   * @throws MOULT_SYSTEM_CALL when nobody listens there; MOULT_PEER_TIMEOUT; MOULT_PEER_CLOSED;
   *   MOULT_PROTOCOL_VERSION; MOULT_PROTOCOL_FRAME; MOULT_PEER_REFUSED before anything is read.
   */
  constructor(
    path: string | number,
    introduction: Introduction,
    timeoutMs: number,
    owners: readonly number[] | 'anybody' = typeof path === 'string' ? ownersAt(path) : [],
  ) {
    this.#deadlineMs = performance.now() + timeoutMs;
    this.#fd = typeof path === 'number' ? path : connectUnix(path);
    this.#records = -1;
    try {
      this.peer = peerCredentials(this.#fd);
      // Root may meet the service of any user; nobody else is answered by another user's process.
      const isRoot = process.geteuid?.() === 0;
      if (!isRoot || !(owners === 'anybody' || owners.includes(this.peer.uid))) checkPeer(this.peer);
      this.greeting = this.#greeting();
      const protocol = commonVersion(this.greeting.protocol);
      this.say({
        type: 'hello',
        protocol,
        moult: MOULT_VERSION,
        pid: process.pid,
        parts: true,
        ...introduction,
      });
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** Sends one message, with descriptors beside it; the sender's own stay open. @throws MOULT_DESCRIPTORS when they cannot be sent now. */
  say<T extends MessageType>(message: Message<T>, descriptors: readonly number[] = []): void {
    if (descriptors.length === 0) {
      writeAll(this.#fd, encodeFrame(message));
      return;
    }
    this.#sentTag += 1;
    if (!sendDescriptors(this.#records, this.#sentTag, descriptors)) {
      throw new MoultError(
        'MOULT_DESCRIPTORS',
        `the kernel cannot pass ${descriptors.length} descriptors now`,
      );
    }
    writeAll(this.#fd, encodeFrame({ ...message, descriptors: descriptors.length }));
  }

  /**
   * The next message, which must be of this type.
   * @throws what the other side refused with; MOULT_PROTOCOL_ORDER; MOULT_PEER_TIMEOUT; MOULT_PEER_CLOSED
   */
  hear<T extends MessageType>(type: T): { message: Message<T>; incoming: Incoming } {
    const beside = new Beside(this.#records, this.#receivedTag);
    const { frame, incoming } = this.#whole(beside);
    this.#receivedTag = beside.tag;
    try {
      const message = parseMessage(frame);
      if (message.type === 'refused') throw MoultError.from(message.error);
      if (message.type !== type) {
        throw new MoultError('MOULT_PROTOCOL_ORDER', `expected ${type}, received ${message.type}`);
      }
      return { message: message as Message<T>, incoming };
    } catch (error) {
      for (const fd of incoming.take()) closeDescriptor(fd);
      throw error;
    }
  }

  /** Goes on asynchronously. The opening must not be used any more. */
  toChannel(): Channel {
    const socket = new Socket({ fd: this.#fd, readable: true, writable: true });
    const channel = new Channel(socket, this.#records, this.peer, parseMessage, {
      sent: this.#sentTag,
      received: this.#receivedTag,
    });
    channel.takesParts = this.greeting.parts === true;
    this.#fd = -1;
    this.#records = -1;
    return channel;
  }

  /** Closes it. */
  abandon(): void {
    if (this.#fd >= 0) closeDescriptor(this.#fd);
    if (this.#records >= 0) closeDescriptor(this.#records);
    this.#fd = -1;
    this.#records = -1;
  }

  // The first bytes of the acceptor carry our end of the record socket.
  #greeting(): Message<'greeting'> {
    waitReadable(this.#fd, this.#deadlineMs);
    const received = reserve.use(() => receiveBytesWithDescriptors(this.#fd, HEADER_BYTES));
    const [records, ...surplus] = received?.descriptors ?? [];
    for (const fd of surplus) closeDescriptor(fd);
    this.#records = records ?? -1;
    if (received === undefined || received.bytes.length === 0) {
      throw new MoultError('MOULT_PEER_CLOSED', 'the other side closed the socket before it greeted');
    }
    if (received.bytes.length < HEADER_BYTES) {
      throw new MoultError('MOULT_PROTOCOL_FRAME', 'expected a greeting, received something shorter');
    }
    const message = parseMessage(this.#frame(received.bytes));
    if (message.type === 'refused') throw MoultError.from(message.error);
    if (message.type !== 'greeting' || records === undefined) {
      throw new MoultError(
        'MOULT_PROTOCOL_ORDER',
        `expected a greeting with a descriptor, received ${message.type}`,
      );
    }
    return message;
  }

  #whole(beside: Beside): { frame: Frame; incoming: Incoming } {
    try {
      const parts = new PartsReader();
      for (;;) {
        const frame = this.#frame();
        beside.receive(frame);
        const whole = parts.push(frame, beside.count, beside.isTruncated);
        if (whole !== undefined) return { frame: whole, incoming: beside.take(whole.attachment) };
      }
    } catch (error) {
      beside.close();
      throw error;
    }
  }

  #frame(header = readExactly(this.#fd, HEADER_BYTES, this.#deadlineMs)): Frame {
    const { jsonBytes, attachmentBytes } = decodeHeader(header);
    return decodeBody(readExactly(this.#fd, jsonBytes + attachmentBytes, this.#deadlineMs), jsonBytes);
  }
}

/**
 * Whose processes may answer root at a path: those of who owns the folder. Where its group may write, another one of them may
 * have put a socket there. Where only root may write, root gave it to whoever listens: a service that has given up its
 * privileges is another user's.
 */
function ownersAt(path: string): readonly number[] | 'anybody' {
  try {
    const folder = lstatSync(dirname(path));
    const isOnlyRoots = folder.isDirectory() && folder.uid === 0 && (folder.mode & 0o022) === 0;
    return isOnlyRoots ? 'anybody' : [folder.uid];
  } catch {
    // There is no such folder, or this process may not see it: connecting tells.
    return [];
  }
}

/** How long a peer may take to greet, and then to answer hello, when nobody may be kept waiting. */
const GREETING_TIMEOUT_MS = 2000;
const ANSWER_TIMEOUT_MS = 500;
const LOOK_MS = 10;

/**
 * Opens a channel without blocking while the peer has not greeted: one that is stopped costs nothing. In the place of
 * descriptors in reserve, where no others are free. Does not keep the process alive.
 * @returns undefined when nobody is there, or it does not greet in time.
 */
export async function openWhenGreeted(
  path: string,
  introduce: () => Introduction,
): Promise<Opening | undefined> {
  let fd: number;
  try {
    fd = reserve.use(() => connectUnixNow(path));
  } catch {
    return undefined;
  }
  const deadlineMs = performance.now() + GREETING_TIMEOUT_MS;
  while (!isReadable(fd)) {
    if (performance.now() > deadlineMs) {
      closeDescriptor(fd);
      return undefined;
    }
    await new Promise<void>((resolve) => {
      setTimeout(resolve, LOOK_MS).unref();
    });
  }
  const introduction = introduce();
  try {
    const owners = ownersAt(path) === 'anybody' ? 'anybody' : [];
    return new Opening(fd, introduction, ANSWER_TIMEOUT_MS, owners);
  } catch {
    return undefined;
  }
}
