/*
 * Just over 300 lines: sending, receiving and closing share the state of one conversation.
 */
import type { Socket } from 'node:net';
import { asMoultError, MoultError } from '../errors.js';
import { readUnread } from '../node/http/unread.js';
import { closeDescriptor, duplicate } from '../os/descriptors/descriptor.js';
import { sendDescriptors } from '../os/sockets/descriptor-socket.js';
import type { PeerCredentials } from '../os/unix-sockets/peer.js';
import { encodeFrame, type Frame, FrameReader } from '../protocol/frame.js';
import type { Message, MessageType } from '../protocol/messages.js';
import { assertForOlder, cutInParts, goesInOne, PartsReader } from '../protocol/parts.js';
import { Beside, type Incoming } from './beside.js';

/** How long a record that the kernel does not take yet waits for the next try. */
const RETRY_MS = 5;
/** How long a peer may take to read the last messages of a closed channel. */
const CLOSE_GRACE_MS = 1000;
/** A peer that leaves so much unread is taken for dead; more than the longest message. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;
const NO_BYTES = Buffer.alloc(0);
/** Messages whose attachment may hold keys: their bytes are filled with zeros once they have gone, or were dealt with. */
const SECRET: ReadonlySet<MessageType> = new Set(['connections-data']);

type Handler<T extends MessageType> = (message: Message<T>, incoming: Incoming) => void;

interface Outgoing {
  readonly frame: Buffer;
  readonly isSecret: boolean;
  readonly tag: number;
  descriptors: readonly number[];
  /** Whether the descriptors are copies of our own, made because they have to wait. */
  areOurs: boolean;
}

/**
 * A conversation with another process of moult: messages in order, descriptors beside them.
 *
 * A message that nobody handles at that moment, one that is malformed, and a handler that throws close the
 * channel; they never end the process. Descriptors that came along are closed.
 */
export class Channel {
  readonly peer: PeerCredentials;
  /** Whether the other side takes messages in parts: one from before them does not say so. */
  takesParts = false;
  /** Settles when the channel is closed by either side; the reason when something went wrong. */
  readonly closed: Promise<MoultError | undefined>;
  #socket: Socket;
  #records: number;
  readonly #parse: (frame: Frame) => Message;
  #reader = new FrameReader();
  #parts = new PartsReader();
  #beside: Beside;
  #handlers = new Map<MessageType, Handler<never>>();
  #outbox: Outgoing[] = [];
  #waitingBytes = 0;
  #sentTag = 0;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** Whether nothing more can be sent, and what the other side has said is still to be read. */
  #isBroken = false;
  #settle!: (reason: MoultError | undefined) => void;

  /**
   * @param socket carries the messages; nothing of it has been read yet.
   * @param records the descriptor of a record socket that Node does not know; the channel closes it.
   * @param parse tells the messages that may come: `parseMessage`, or that for some of them.
   */
  constructor(
    socket: Socket,
    records: number,
    peer: PeerCredentials,
    parse: (frame: Frame) => Message,
    tags = { sent: 0, received: 0 },
  ) {
    this.#parse = parse;
    this.#socket = socket;
    this.#records = records;
    this.peer = peer;
    this.#sentTag = tags.sent;
    this.#beside = new Beside(records, tags.received);
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    // Node closes a socket when a write fails: what the other side said before its end is read first.
    const { _destroy } = socket;
    socket._destroy = (error, done) => {
      if (error) this.#readRest();
      _destroy.call(socket, error, done);
    };
    socket.on('error', (cause) => this.#close(new MoultError('MOULT_PEER_CLOSED', cause.message, { cause })));
    socket.on('end', () => this.#peerEnded());
    socket.on('close', () => this.#close(undefined));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Keeps the process alive while the channel is open. */
  ref(): void {
    this.#socket.ref();
  }

  /** Lets the process end although the channel is open. */
  unref(): void {
    this.#socket.unref();
  }

  /** Handles messages of this type from now on; the last handler given holds. */
  on<T extends MessageType>(type: T, handler: Handler<T>): this {
    this.#handlers.set(type, handler as Handler<never>);
    return this;
  }

  /** No longer expects messages of this type. */
  off(type: MessageType): void {
    this.#handlers.delete(type);
  }

  /**
   * The next message of one of these types.
   * @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT
   */
  async next<T extends MessageType>(types: readonly T[], timeoutMs: number): Promise<Message<T>> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Message<T>>((resolve, reject) => {
        const take = (message: Message<T>) => {
          // At once: another one in the same chunk must not be taken for this one.
          for (const type of types) this.off(type);
          resolve(message);
        };
        for (const type of types) this.on(type, take as Handler<T>);
        this.closed.then((reason) =>
          reject(
            reason ??
              new MoultError(
                'MOULT_PEER_CLOSED',
                `the other side closed before it sent ${types.join(' or ')}`,
              ),
          ),
        );
        timer = setTimeout(
          () =>
            reject(
              new MoultError('MOULT_PEER_TIMEOUT', `expected ${types.join(' or ')} within ${timeoutMs} ms`),
            ),
          timeoutMs,
        );
      });
    } finally {
      clearTimeout(timer);
      for (const type of types) this.off(type);
    }
  }

  /**
   * Sends a message, with descriptors beside it; the sender's own stay open, and may be closed when this returns. What does
   * not go in one frame goes in parts.
   * @throws MOULT_TOO_LARGE where the other side takes no parts; MOULT_PROTOCOL_FRAME where it is too long for parts, too.
   */
  send<T extends MessageType>(
    message: Message<T>,
    descriptors: readonly number[] = [],
    attachment: Buffer = NO_BYTES,
  ): void {
    if (this.#isClosed || this.#isBroken) return;
    const json = Buffer.from(JSON.stringify(message), 'utf8');
    // Room for the number of descriptors.
    const isOne = goesInOne(json.length + 32, descriptors.length);
    if (!this.takesParts) assertForOlder(message, json.length, descriptors.length);
    const outgoing =
      isOne || !this.takesParts
        ? [this.#outgoing(message, descriptors, attachment)]
        : this.#inParts(json, descriptors, attachment);
    for (const one of outgoing) {
      this.#outbox.push(one);
      this.#waitingBytes += one.frame.length;
    }
    this.#flush();
    // The caller may close its own, and their numbers come to mean other files, before the kernel takes them.
    for (const one of outgoing) if (this.#outbox.includes(one)) this.#keep(one);
  }

  #outgoing(message: object, descriptors: readonly number[], attachment: Buffer): Outgoing {
    const tag = descriptors.length > 0 ? ++this.#sentTag : 0;
    const beside = descriptors.length > 0 ? { descriptors: descriptors.length } : {};
    return {
      frame: encodeFrame({ ...message, ...beside }, attachment),
      isSecret: 'type' in message && SECRET.has(message.type as MessageType),
      tag,
      descriptors,
      areOurs: false,
    };
  }

  #inParts(json: Buffer, descriptors: readonly number[], attachment: Buffer): Outgoing[] {
    let from = 0;
    return cutInParts(json, descriptors.length, attachment).map((part) => {
      const own = descriptors.slice(from, from + part.descriptors);
      from += part.descriptors;
      return this.#outgoing(part.message, own, part.attachment);
    });
  }

  #keep(outgoing: Outgoing): void {
    const copies: number[] = [];
    try {
      for (const fd of outgoing.descriptors) copies.push(duplicate(fd));
      outgoing.descriptors = copies;
      outgoing.areOurs = true;
    } catch (cause) {
      for (const fd of copies) closeDescriptor(fd);
      // Nothing of it, and of what follows, may be sent: the descriptors are the caller's.
      const at = this.#outbox.indexOf(outgoing);
      for (const { descriptors, areOurs } of this.#outbox.splice(at))
        if (areOurs) for (const fd of descriptors) closeDescriptor(fd);
      this.#close(asMoultError(cause, 'MOULT_DESCRIPTORS'));
    }
  }

  /** Closes the channel; what was sent before still arrives. */
  close(): void {
    this.#close(undefined);
  }

  #flush(): void {
    if (this.#retry !== undefined || this.#socket.destroyed) return;
    for (let next = this.#outbox[0]; next !== undefined; next = this.#outbox[0]) {
      try {
        if (next.descriptors.length > 0 && !sendDescriptors(this.#records, next.tag, next.descriptors)) {
          this.#retry = setTimeout(() => {
            this.#retry = undefined;
            this.#flush();
          }, RETRY_MS).unref();
          break;
        }
      } catch (cause) {
        this.#dropOutbox();
        this.#breakOff(asMoultError(cause, 'MOULT_DESCRIPTORS'));
        return;
      }
      this.#outbox.shift();
      this.#waitingBytes -= next.frame.length;
      if (next.areOurs) for (const fd of next.descriptors) closeDescriptor(fd);
      const { frame, isSecret } = next;
      this.#socket.write(frame, isSecret ? () => frame.fill(0) : undefined);
    }
    if (this.#isClosed) {
      if (this.#outbox.length === 0) this.#end();
    } else if (this.#socket.writableLength + this.#waitingBytes > MAX_UNREAD_BYTES) {
      this.#dropOutbox();
      this.#close(new MoultError('MOULT_PEER_TIMEOUT', 'the other side has stopped reading'));
    }
  }

  // What the other side said before its end is read first, and not in the middle of what the sender does.
  #breakOff(reason: MoultError): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    setImmediate(() => {
      try {
        if (!this.#isClosed) this.#readRest();
      } catch {
        // What cannot be read is not known, as if it had not come.
      }
      this.#close(reason);
    });
  }

  #readRest(): void {
    for (const chunk of readUnread(this.#socket)) this.#read(chunk);
  }

  #read(chunk: Buffer): void {
    if (this.#isClosed) return;
    try {
      for (const frame of this.#reader.push(chunk)) {
        this.#receive(frame);
        if (this.#isClosed) return;
      }
    } catch (cause) {
      this.#close(asMoultError(cause, 'MOULT_PROTOCOL_FRAME'));
    }
  }

  #peerEnded(): void {
    const cut = new MoultError('MOULT_PROTOCOL_FRAME', 'the other side closed in the middle of a frame');
    this.#close(this.#reader.isInFrame || this.#parts.isInside ? cut : undefined);
  }

  #receive(part: Frame): void {
    this.#beside.receive(part);
    const frame = this.#parts.push(part, this.#beside.count, this.#beside.isTruncated);
    if (frame === undefined) return;
    const incoming = this.#beside.take(frame.attachment);
    try {
      const message = this.#parse(frame);
      const handler = this.#handlers.get(message.type);
      if (handler === undefined) {
        throw new MoultError('MOULT_PROTOCOL_ORDER', `message ${message.type} is not allowed at this stage`);
      }
      handler(message as never, incoming);
    } finally {
      if (SECRET.has(frame.message.type as MessageType)) frame.attachment.fill(0);
      for (const fd of incoming.take()) closeDescriptor(fd);
    }
  }

  #close(reason: MoultError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handlers.clear();
    this.#beside.close();
    this.#settle(reason);
    // What was sent before goes out first; a peer that does not take it must not hold us up for ever.
    const limit = setTimeout(() => {
      this.#dropOutbox();
      this.#end();
      this.#socket.destroy();
    }, CLOSE_GRACE_MS).unref();
    this.#socket.once('close', () => {
      clearTimeout(limit);
      this.#dropOutbox();
      this.#end();
    });
    if (this.#outbox.length === 0 || this.#socket.destroyed) this.#end();
  }

  #end(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#socket.destroySoon();
    // Descriptors on their way to us would stay open in the socket's queue: closing it closes them.
    if (this.#records >= 0) closeDescriptor(this.#records);
    this.#records = -1;
  }

  #dropOutbox(): void {
    for (const { descriptors, areOurs } of this.#outbox) {
      if (areOurs) for (const fd of descriptors) closeDescriptor(fd);
    }
    this.#outbox = [];
    this.#waitingBytes = 0;
  }
}
