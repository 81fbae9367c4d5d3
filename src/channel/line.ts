import type { MoultError } from '../errors.js';
import { closeDescriptor, duplicate } from '../os/descriptors/descriptor.js';
import type { Message, MessageType } from '../protocol/messages.js';
import { besideOf, type Incoming } from './beside.js';

/** A conversation in messages: a `Channel` to another process, or a {@link localLine} within this one. */
export interface Line {
  readonly closed: Promise<MoultError | undefined>;
  readonly isClosed: boolean;
  /** Whether the other side takes messages in parts: more than 253 listeners, or more than 1 MiB. */
  readonly takesParts: boolean;
  on<T extends MessageType>(type: T, handler: (message: Message<T>, incoming: Incoming) => void): unknown;
  off(type: MessageType): void;
  send<T extends MessageType>(message: Message<T>, descriptors?: readonly number[]): void;
  ref(): void;
  unref(): void;
}

type Handler = (message: never, incoming: Incoming) => void;

const NO_BYTES = Buffer.alloc(0);

class LocalEnd implements Line {
  /** It is never closed: it lives as long as its process. */
  readonly closed = new Promise<undefined>(() => {});
  readonly isClosed = false;
  readonly takesParts = true;
  other: LocalEnd | undefined;
  #handlers = new Map<MessageType, Handler>();
  #alive: NodeJS.Timeout | undefined;

  on<T extends MessageType>(type: T, handler: (message: Message<T>, incoming: Incoming) => void): this {
    this.#handlers.set(type, handler as Handler);
    return this;
  }

  off(type: MessageType): void {
    this.#handlers.delete(type);
  }

  send<T extends MessageType>(message: Message<T>, descriptors: readonly number[] = []): void {
    const incoming = this.other?.copies(message.type, descriptors);
    // As from another process: never within the call that sends.
    queueMicrotask(() => this.other?.receive(message as Message, incoming ?? besideOf(NO_BYTES, [], false)));
  }

  /** The sender may close its own in this very turn; when there is no room for copies, none come, as from a kernel. */
  copies(type: MessageType, descriptors: readonly number[]): Incoming | undefined {
    if (!this.#handlers.has(type) || descriptors.length === 0) return undefined;
    const copied: number[] = [];
    try {
      for (const fd of descriptors) copied.push(duplicate(fd));
    } catch {
      return besideOf(NO_BYTES, copied, true);
    }
    return besideOf(NO_BYTES, copied, false);
  }

  receive(message: Message, incoming: Incoming): void {
    try {
      this.#handlers.get(message.type)?.(message as never, incoming);
    } finally {
      for (const fd of incoming.take()) closeDescriptor(fd);
    }
  }

  ref(): void {
    this.#alive ??= setInterval(() => {}, 2 ** 30);
  }

  unref(): void {
    clearInterval(this.#alive);
    this.#alive = undefined;
  }
}

/**
 * Both ends of a conversation within this process. Messages arrive in order, after the call that sent them has
 * returned; one that nobody handles is dropped.
 */
export function localLine(): [Line, Line] {
  const one = new LocalEnd();
  const other = new LocalEnd();
  one.other = other;
  other.other = one;
  return [one, other];
}
