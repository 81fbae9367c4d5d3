import { isOfBroker } from './feed-senders.js';
import type { BroadcastMessage } from './message.js';

/** Messages in the order in which they were dealt with here, as far back as somebody may need them. */
export class MessageLog {
  bytes = 0;
  /** How many bytes have been added, ever. */
  addedBytes = 0;
  #messages: BroadcastMessage[] = [];
  /** The number of the first that is kept. */
  #start = 0;

  /** The number of the first that is kept; those before it are gone. */
  get start(): number {
    return this.#start;
  }

  /** The number that the next one will have. */
  get end(): number {
    return this.#start + this.#messages.length;
  }

  at(index: number): BroadcastMessage | undefined {
    return this.#messages[index - this.#start];
  }

  all(): readonly BroadcastMessage[] {
    return this.#messages;
  }

  /** How many bytes those from this number on have that are to be sent to others. */
  bytesFrom(index: number): number {
    const some = this.#messages.slice(Math.max(0, index - this.#start));
    return some.reduce((sum, { origin, payload }) => sum + (isOfBroker(origin) ? 0 : payload.length), 0);
  }

  add(message: BroadcastMessage): void {
    this.#messages.push(message);
    this.bytes += message.payload.length;
    this.addedBytes += message.payload.length;
  }

  /** Forgets all before this number. @returns what is gone. */
  forgetBefore(index: number): BroadcastMessage[] {
    const count = Math.min(index, this.end) - this.#start;
    if (count <= 0) return [];
    const gone = this.#messages.splice(0, count);
    for (const { payload } of gone) this.bytes -= payload.length;
    this.#start += count;
    return gone;
  }
}
