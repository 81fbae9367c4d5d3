import type { ConnectionTracker, Tracked } from '../tracker.js';

/** How often some have their turn. */
const TICK_MS = 100;

/**
 * Gives the connections that must be closed their turns, evenly over a time, so that their clients do not all come
 * back at once. It counts anew each time: some end by themselves, some turn out late to be among them.
 */
export class Spread {
  #tracker: ConnectionTracker;
  #mustClose: (tracked: Tracked) => boolean;
  #close: (tracked: Tracked) => boolean;
  #nowMs: () => number;
  #endsAtMs: number;
  #hadTurn = new WeakSet<Tracked>();
  #waiting = new Set<Tracked>();
  #timer: NodeJS.Timeout;

  /**
   * @param mustClose whether a connection ends here.
   * @param close ends one whose turn has come; false where it is not at a point for that: it is asked again.
   * @param nowMs the clock.
   */
  constructor(
    tracker: ConnectionTracker,
    spreadMs: number,
    mustClose: (tracked: Tracked) => boolean,
    close: (tracked: Tracked) => boolean,
    nowMs = () => performance.now(),
  ) {
    this.#tracker = tracker;
    this.#mustClose = mustClose;
    this.#close = close;
    this.#nowMs = nowMs;
    this.#endsAtMs = nowMs() + spreadMs;
    this.#timer = setInterval(() => this.#tick(), Math.min(TICK_MS, spreadMs));
  }

  /** Whether its turn has come. */
  hasTurn(tracked: Tracked): boolean {
    return this.#hadTurn.has(tracked);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#waiting.clear();
  }

  #tick(): void {
    for (const tracked of this.#waiting) {
      if (this.#isOpen(tracked) && !this.#close(tracked)) continue;
      this.#waiting.delete(tracked);
    }
    const left = this.#tracker.all().filter((one) => !this.#hadTurn.has(one) && this.#mustClose(one));
    const leftMs = this.#endsAtMs - this.#nowMs();
    // Those of this tick, out of those of all ticks that are left with this one.
    const now = leftMs < TICK_MS ? left.length : Math.ceil((left.length * TICK_MS) / (leftMs + TICK_MS));
    for (const tracked of left.slice(0, now)) {
      this.#hadTurn.add(tracked);
      if (!this.#close(tracked)) this.#waiting.add(tracked);
    }
  }

  #isOpen(tracked: Tracked): boolean {
    return this.#tracker.of(tracked.socket) === tracked;
  }
}
