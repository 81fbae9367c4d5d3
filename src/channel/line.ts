import type { MoultError } from '../errors.js';
import { duplicate } from '../os/descriptor.js';
import type { Message, MessageType } from '../protocol/messages.js';
import type { Channel, Incoming } from './channel.js';

/** A conversation in messages: a {@link Channel} to another process, or a {@link localLine} within this one. */
export interface Line {
  readonly closed: Promise<MoultError | undefined>;
  readonly isClosed: boolean;
  on<T extends MessageType>(type: T, handler: (message: Message<T>, incoming: Incoming) => void): unknown;
  off(type: MessageType): void;
  send<T extends MessageType>(message: Message<T>, descriptors?: readonly number[]): void;
  ref(): void;
  unref(): void;
}

type Handler = (message: never, incoming: Incoming) => void;

// Both ends have the descriptors already: copies are made only for a handler that takes them.
function beside(descriptors: readonly number[]): Incoming {
  const take = () => descriptors.map(duplicate);
  return { attachment: Buffer.alloc(0), truncated: false, count: descriptors.length, take };
}

class LocalEnd implements Line {
  /** It is never closed: it lives as long as its process. */
  readonly closed = new Promise<undefined>(() => {});
  readonly isClosed = false;
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
    // As from another process: never within the call that sends.
    queueMicrotask(() => this.other?.receive(message as Message, descriptors));
  }

  receive(message: Message, descriptors: readonly number[]): void {
    this.#handlers.get(message.type)?.(message as never, beside(descriptors));
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
 * A descriptor beside one must stay open until then.
 */
export function localLine(): [Line, Line] {
  const one = new LocalEnd();
  const other = new LocalEnd();
  one.other = other;
  other.other = one;
  return [one, other];
}
