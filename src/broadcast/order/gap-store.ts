import type { BroadcastMessage, Positions } from '../message.js';

/** How long none of the messages before one that has come may come by another way. */
const GAP_TIMEOUT_MS = 2000;
/** What waits for messages before it has room for this; each link has at most 4 MiB under way. */
const MAX_STORED_BYTES = 64 * 1024 * 1024;

interface GapEvents {
  /** What is stored has waited for as long as it may: {@link GapStore.giveUp}. */
  late(): void;
  /** So many messages did not come. */
  missed(count: number): void;
}

/**
 * Puts the messages of each sender in order. Several links bring them: each brings those of one sender in order, and
 * one that was opened later may begin in the middle, when the rest is still on its way over another.
 */
export class GapStore {
  readonly #positions: Positions;
  readonly #events: GapEvents;
  readonly #stored = new Map<string, Map<number, BroadcastMessage>>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param positions up to where each sender's messages have been dealt with. */
  constructor(positions: Positions, events: GapEvents) {
    this.#positions = positions;
    this.#events = events;
  }

  /** @param isOnlySource whether nothing can come by another way. @returns what is to be dealt with now, in order. */
  *take(message: BroadcastMessage, isOnlySource: boolean): Generator<BroadcastMessage> {
    const expected = this.#expected(message.origin);
    if (message.seq < expected) return;
    if (message.seq === expected) {
      yield message;
      yield* this.#following(message.origin);
      // What is missing is coming.
      if (this.#stored.has(message.origin)) this.#timer?.refresh();
      return;
    }
    const stored = this.#stored.get(message.origin) ?? new Map<number, BroadcastMessage>();
    this.#stored.set(message.origin, stored);
    if (!stored.has(message.seq)) this.#bytes += message.payload.length;
    stored.set(message.seq, message);
    if (isOnlySource || this.#bytes > MAX_STORED_BYTES) yield* this.giveUp();
    else this.#timer ??= setTimeout(() => this.#late(), GAP_TIMEOUT_MS).unref();
  }

  /** What is to be dealt with although messages before it have not come; says how many those are. */
  *giveUp(): Generator<BroadcastMessage> {
    let missed = 0;
    for (const [origin, stored] of this.#stored) {
      for (const message of [...stored.values()].sort((a, b) => a.seq - b.seq)) {
        missed += Math.max(0, message.seq - this.#expected(origin));
        yield message;
      }
    }
    this.#clear();
    if (missed > 0) this.#events.missed(missed);
  }

  #late(): void {
    this.#timer = undefined;
    if (this.#stored.size > 0) this.#events.late();
  }

  *#following(origin: string): Generator<BroadcastMessage> {
    const stored = this.#stored.get(origin);
    if (stored === undefined) return;
    for (
      let next = stored.get(this.#expected(origin));
      next !== undefined;
      next = stored.get(this.#expected(origin))
    ) {
      stored.delete(next.seq);
      this.#bytes -= next.payload.length;
      yield next;
    }
    for (const seq of stored.keys()) if (seq < this.#expected(origin)) stored.delete(seq);
    if (stored.size === 0) this.#stored.delete(origin);
    if (this.#stored.size === 0) this.#clear();
  }

  #clear(): void {
    this.#stored.clear();
    this.#bytes = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #expected(origin: string): number {
    return (this.#positions.get(origin) ?? 0) + 1;
  }
}
