import { isOfBroker } from './feed-senders.js';
import type { BroadcastMessage } from './message.js';

/** Messages in the order in which they were dealt with here, as far back as somebody may need them. */
export class MessageLog {
  bytes = 0;
  /** How many bytes have been added, ever. */
  addedBytes = 0;
  #messages: (BroadcastMessage | undefined)[] = [];
  /** So many of these are gone: to shift all others each time would take long where many wait. */
  #gone = 0;
  /** The number of the first that is kept. */
  #start = 0;

  /** The number of the first that is kept; those before it are gone. */
  get start(): number {
    return this.#start;
  }

  /** The number that the next one will have. */
  get end(): number {
    return this.#start + this.#messages.length - this.#gone;
  }

  at(index: number): BroadcastMessage | undefined {
    return index < this.#start ? undefined : this.#messages[this.#gone + index - this.#start];
  }

  all(): readonly BroadcastMessage[] {
    return this.#from(this.#start);
  }

  /** How many bytes those from this number on have that are to be sent to others. */
  bytesFrom(index: number): number {
    return this.#from(Math.max(index, this.#start)).reduce(
      (sum, { origin, payload }) => sum + (isOfBroker(origin) ? 0 : payload.length),
      0,
    );
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
    const gone = this.#messages.slice(this.#gone, this.#gone + count) as BroadcastMessage[];
    for (const { payload } of gone) this.bytes -= payload.length;
    this.#messages.fill(undefined, this.#gone, this.#gone + count);
    this.#gone += count;
    this.#start += count;
    if (2 * this.#gone > this.#messages.length) {
      this.#messages.splice(0, this.#gone);
      this.#gone = 0;
    }
    return gone;
  }

  #from(index: number): BroadcastMessage[] {
    return this.#messages.slice(this.#gone + index - this.#start) as BroadcastMessage[];
  }
}
