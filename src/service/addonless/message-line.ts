import { Socket } from 'node:net';
import type { Incoming } from '../../channel/beside.js';
import { besideOf } from '../../channel/beside.js';
import type { Line } from '../../channel/line.js';
import { asMoultError, type MoultError } from '../../errors.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { type Message, type MessageType, parseMessage } from '../../protocol/messages.js';
import { commonVersion } from '../../protocol/version.js';
import { MOULT_VERSION } from '../../version.js';

type Handler = (message: never, incoming: Incoming) => void;
type Introduction = Omit<Message<'hello'>, 'type' | 'protocol' | 'moult' | 'pid'>;

const NO_BYTES = Buffer.alloc(0);

/**
 * A conversation in messages with a supervisor, over nothing but a socket of Node: what a process can have that calls no
 * libc. Descriptors are neither sent nor received. It keeps the process alive only while it is told to.
 */
export class MessageLine implements Line {
  readonly closed: Promise<MoultError | undefined>;
  readonly takesParts = false;
  readonly #socket = new Socket();
  readonly #reader = new FrameReader();
  readonly #handlers = new Map<MessageType, Handler>();
  #isClosed = false;
  #settle!: (reason: MoultError | undefined) => void;

  /**
   * Connects, and says hello once it is greeted.
   * @param path of the supervisor's socket.
   * @param introduce what to say of oneself at that moment.
   */
  constructor(path: string, introduce: () => Introduction) {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    const socket = this.#socket;
    this.on('greeting', ({ protocol: offered }) => {
      const protocol = commonVersion(offered);
      this.send({ type: 'hello', protocol, moult: MOULT_VERSION, pid: process.pid, ...introduce() });
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#close(asMoultError(error, 'MOULT_PEER_CLOSED')));
    socket.on('close', () => this.#close(undefined));
    socket.connect(path);
    socket.unref();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  on<T extends MessageType>(type: T, handler: (message: Message<T>, incoming: Incoming) => void): this {
    this.#handlers.set(type, handler as Handler);
    return this;
  }

  off(type: MessageType): void {
    this.#handlers.delete(type);
  }

  send<T extends MessageType>(message: Message<T>): void {
    if (!this.#isClosed) this.#socket.write(encodeFrame(message));
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  close(): void {
    this.#close(undefined);
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) {
        const message = parseMessage(frame);
        // What concerns only those that pass descriptors means nothing here.
        this.#handlers.get(message.type)?.(message as never, besideOf(NO_BYTES, [], false));
      }
    } catch (error) {
      this.#close(asMoultError(error, 'MOULT_PROTOCOL_FRAME'));
    }
  }

  #close(reason: MoultError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#settle(reason);
    this.#socket.destroySoon();
  }
}
