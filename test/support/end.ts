import type { Channel } from '#moult/channel/channel.js';
import { MoultError } from '#moult/errors.js';
import type { MessageType } from '#moult/protocol/messages.js';

type Handler = (message: unknown, incoming: unknown) => void;

/** One end of a conversation; what the other sends waits until {@link deliver}. */
export class End {
  /** Told of what a handler threw that moult itself does not say. */
  static unexpected: (what: string) => void = () => {};
  readonly peer: { pid: number };
  readonly closed: Promise<MoultError | undefined>;
  isClosed = false;
  /** How many messages of the other side have been taken here. */
  taken = 0;
  other!: End;
  #inbox: { message: { type: MessageType }; attachment: Buffer }[] = [];
  #handlers = new Map<string, Handler>();
  #settle!: (reason: MoultError | undefined) => void;

  constructor(pid: number) {
    this.peer = { pid };
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  static pair(nearPid: number, farPid: number): [End, End] {
    const near = new End(farPid);
    const far = new End(nearPid);
    near.other = far;
    far.other = near;
    return [near, far];
  }

  on(type: string, handler: Handler): this {
    this.#handlers.set(type, handler);
    return this;
  }

  off(type: string): void {
    this.#handlers.delete(type);
  }

  /** How many messages of the other side wait here. */
  get waiting(): number {
    return this.#inbox.length;
  }

  /** As {@link Channel.next}, without a time limit. */
  next(types: readonly MessageType[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      for (const type of types) this.on(type, resolve);
      this.closed.then(() => reject(new Error(`closed before ${types.join(' or ')}`)));
    });
  }

  ref(): void {}
  unref(): void {}

  send(message: { type: MessageType }, _descriptors: number[] = [], attachment = Buffer.alloc(0)): void {
    if (!this.isClosed && !this.other.isClosed) this.other.#inbox.push({ message, attachment });
  }

  close(reason?: MoultError): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#handlers.clear();
    this.#inbox = [];
    this.#settle(reason);
  }

  /** Takes the next message, or learns that the other side is gone. @returns whether there was anything. */
  deliver(): boolean {
    if (this.isClosed) return false;
    const next = this.#inbox.shift();
    if (next === undefined) {
      if (!this.other.isClosed) return false;
      this.close();
      return true;
    }
    this.taken += 1;
    const { message, attachment } = next;
    const handler = this.#handlers.get(message.type);
    if (handler === undefined) this.close(new MoultError('MOULT_PROTOCOL_ORDER', message.type));
    else {
      try {
        handler(message, { take: () => [], count: 0, attachment });
      } catch (error) {
        // As the real channel does; but only what moult itself says may come this way.
        if (!(error instanceof MoultError)) End.unexpected(`${message.type}: ${(error as Error).stack}`);
        this.close(error as MoultError);
      }
    }
    return true;
  }

  get channel(): Channel {
    return this as unknown as Channel;
  }
}
