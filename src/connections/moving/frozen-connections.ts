import { freeze, thaw } from '../../node/http/http1.js';
import { socketAbove } from '../../node/tls-sockets.js';
import { monotonicMs } from '../../os/clock.js';
import type { Tracked } from '../tracker.js';

/** Connections of which nothing is read, so that they come to rest: each until it has left, or is served here again. */
export class FrozenConnections {
  readonly #sinceMs = new Map<Tracked, number>();

  get size(): number {
    return this.#sinceMs.size;
  }

  /** Stops reading. @returns since when nothing is read, by the monotonic clock. */
  freeze(tracked: Tracked): number {
    const known = this.#sinceMs.get(tracked);
    if (known !== undefined) return known;
    freeze(socketAbove(tracked.socket));
    const nowMs = monotonicMs();
    this.#sinceMs.set(tracked, nowMs);
    return nowMs;
  }

  /** Reads on, where it was frozen. */
  thaw(tracked: Tracked): void {
    if (this.#sinceMs.delete(tracked)) thaw(socketAbove(tracked.socket));
  }

  /** It has left, or is closed. */
  forget(tracked: Tracked): void {
    this.#sinceMs.delete(tracked);
  }

  /** Reads on from those that have been frozen for longer than this. */
  thawOlderThan(ms: number): void {
    const limitMs = monotonicMs() - ms;
    for (const [tracked, sinceMs] of this.#sinceMs) {
      if (tracked.socket.destroyed) this.forget(tracked);
      else if (sinceMs < limitMs) this.thaw(tracked);
    }
  }

  /** Reads on from all. */
  thawAll(): void {
    for (const tracked of [...this.#sinceMs.keys()]) this.thaw(tracked);
  }
}
