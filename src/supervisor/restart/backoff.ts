/** Waiting times between starts of a service that keeps crashing. Pure: it is told the time. */
export class Backoff {
  #failures = 0;
  readonly #firstMs: number;
  readonly #longestMs: number;
  readonly #stableMs: number;

  /** @param stableMs a generation that served for so long counts as sound again. */
  constructor(firstMs = 100, longestMs = 30_000, stableMs = 10_000) {
    this.#firstMs = firstMs;
    this.#longestMs = longestMs;
    this.#stableMs = stableMs;
  }

  /** The wait before the next start, in milliseconds. @param servedMs how long the one that crashed had served. */
  next(servedMs: number): number {
    if (servedMs >= this.#stableMs) this.#failures = 0;
    const wait =
      this.#failures === 0 ? 0 : Math.min(this.#longestMs, this.#firstMs * 2 ** (this.#failures - 1));
    this.#failures += 1;
    return wait;
  }

  reset(): void {
    this.#failures = 0;
  }
}
