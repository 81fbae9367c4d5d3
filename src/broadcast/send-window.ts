import { MAX_BROADCASTS } from '../protocol/limits.js';
import type { BroadcastMessage } from './message.js';
import type { MessageLog } from './message-log.js';

/** How many bytes may be on their way to a peer that has not dealt with them, at least; the rest waits in the log. */
const WINDOW_BYTES = 1024 * 1024;
/**
 * How many messages may be on their way, at least: each is work for every client there, in one turn where they come together,
 * and connections and answers wait for that turn.
 */
const WINDOW_MESSAGES = 2 * MAX_BROADCASTS;
/** So many times as much may be on its way at most: a channel is closed on which more than 16 MiB are not read. */
const MAX_WIDENING = 4;
/** How much more goes there than is made meanwhile, so that what waits becomes less. */
const CATCH_UP = 2;

/** A message whose way there and back is measured. */
interface Probe {
  readonly message: BroadcastMessage;
  /** The log when it was sent. */
  readonly end: number;
  readonly addedBytes: number;
}

/**
 * The messages that are on their way to a peer. Where both processes are busy, what is made in one turn of their loops can be more
 * than the least that may be on its way, and the peer would be behind for ever: then more may be.
 */
export class SendWindow {
  readonly #log: MessageLog;
  readonly #messages: BroadcastMessage[] = [];
  #bytes = 0;
  #maxBytes = WINDOW_BYTES;
  #maxMessages = WINDOW_MESSAGES;
  #probe: Probe | undefined;

  constructor(log: MessageLog) {
    this.#log = log;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** Whether more is on its way than goes there at least: the peer may be slow. */
  get isWide(): boolean {
    return this.#bytes > WINDOW_BYTES || this.#messages.length > WINDOW_MESSAGES;
  }

  /** Whether this message may be sent now, too: one that is larger than all that may be on its way goes alone. */
  hasRoomFor({ payload }: BroadcastMessage): boolean {
    if (this.isEmpty) return true;
    return this.#bytes + payload.length <= this.#maxBytes && this.#messages.length < this.#maxMessages;
  }

  /** It is sent. */
  add(message: BroadcastMessage): void {
    const { end, addedBytes } = this.#log;
    this.#probe ??= { message, end, addedBytes };
    this.#messages.push(message);
    this.#bytes += message.payload.length;
  }

  /** The peer has dealt with the first ones, as far as this holds. */
  heard(isPast: (message: BroadcastMessage) => boolean): void {
    for (let first = this.#messages[0]; first !== undefined && isPast(first); first = this.#messages[0]) {
      this.#messages.shift();
      this.#bytes -= first.payload.length;
      if (first === this.#probe?.message) this.#widen(this.#probe);
    }
  }

  // By what was made while that one was on its way.
  #widen({ end, addedBytes }: Probe): void {
    this.#probe = undefined;
    const of = (least: number, made: number) =>
      Math.min(MAX_WIDENING * least, Math.max(least, CATCH_UP * made));
    this.#maxBytes = of(WINDOW_BYTES, this.#log.addedBytes - addedBytes);
    this.#maxMessages = of(WINDOW_MESSAGES, this.#log.end - end);
  }
}
