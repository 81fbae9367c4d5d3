/** The width of one bucket of a timeline, in milliseconds. */
export const BUCKET_MS = 100;

/** What happened in one bucket. */
export interface TimelineBucket {
  /** Whole responses. */
  readonly answered: number;
  /** Failed requests, lost connections and duplicated answers. */
  readonly failures: number;
  /** The longest latency of a response that came in this bucket, in milliseconds. */
  readonly maxMs: number;
  /** Answers by generation, as far as the answers tell it. */
  readonly generations: Readonly<Record<string, number>>;
}

interface OpenBucket extends TimelineBucket {
  answered: number;
  failures: number;
  maxMs: number;
  generations: Record<string, number>;
}

/** Counts what happens per 100 ms since the load began. */
export class Timeline {
  readonly #buckets: OpenBucket[] = [];

  answered(atMs: number, latencyMs: number, generation: string | undefined): void {
    const bucket = this.#at(atMs);
    bucket.answered += 1;
    if (latencyMs > bucket.maxMs) bucket.maxMs = latencyMs;
    if (generation !== undefined) {
      bucket.generations[generation] = (bucket.generations[generation] ?? 0) + 1;
    }
  }

  failed(atMs: number): void {
    this.#at(atMs).failures += 1;
  }

  /** The buckets from the begin of the load to the last one in which something happened. */
  get buckets(): readonly TimelineBucket[] {
    return this.#buckets;
  }

  #at(atMs: number): OpenBucket {
    const index = Math.max(0, Math.floor(atMs / BUCKET_MS));
    while (this.#buckets.length <= index) {
      this.#buckets.push({ answered: 0, failures: 0, maxMs: 0, generations: {} });
    }
    return this.#buckets[index] as OpenBucket;
  }
}
