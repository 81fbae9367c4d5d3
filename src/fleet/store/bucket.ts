import type { KV } from '@nats-io/kv';

/** A value of a bucket. */
export interface BucketEntry {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly revision: number;
}

/** The server's word for a compare-and-set that came too late. Source: nats-server, errors.json, JSStreamWrongLastSequenceErrF. */
const WRONG_LAST_SEQUENCE = 10_071;

/** How many values are asked for at once. */
const AT_ONCE = 100;
const HEARTBEAT_MS = 5000;

/** What is to be watched of a bucket. */
export interface Watched {
  readonly pattern: string;
  readonly told: (entry: BucketEntry) => void;
  readonly withValues: boolean;
  readonly heartbeatMs: number;
}

/** What a bucket is made of. */
export interface BucketParts {
  readonly kv: KV;
  /** Asks the server which keys fit a pattern. */
  readonly keysOf: (pattern: string) => Promise<string[]>;
  /** Replaces what has this revision. @returns the new one; undefined where somebody else has written meanwhile. */
  readonly replace: (key: string, text: string, revision: number) => Promise<number | undefined>;
  /** Tells what is written, until its answer is called. */
  readonly watching: (watched: Watched) => Promise<() => void>;
}

/** A bucket, with writes that compare first. */
export class Bucket {
  readonly #parts: BucketParts;

  constructor(parts: BucketParts) {
    this.#parts = parts;
  }

  /** The value of a key; undefined where it has none. */
  async get(key: string): Promise<BucketEntry | undefined> {
    const found = await this.#parts.kv.get(key);
    if (found === null || found.operation !== 'PUT') return undefined;
    return { key, bytes: found.value, revision: found.revision };
  }

  /** Sets a key that only the caller writes. @returns the revision. */
  put(key: string, value: unknown): Promise<number> {
    return this.#parts.kv.put(key, JSON.stringify(value));
  }

  /**
   * Sets a key, if its last revision is this one; 0 for none yet.
   * @returns the new revision; undefined where somebody else has written meanwhile.
   */
  async compareAndSet(key: string, value: unknown, revision: number): Promise<number | undefined> {
    const text = JSON.stringify(value);
    try {
      return await (revision === 0
        ? this.#parts.kv.create(key, text)
        : this.#parts.replace(key, text, revision));
    } catch (error) {
      if ((error as { code?: unknown }).code === WRONG_LAST_SEQUENCE) return undefined;
      throw error;
    }
  }

  /** Removes a key. */
  async remove(key: string): Promise<void> {
    await this.#parts.kv.purge(key);
  }

  /**
   * All values whose keys fit a pattern, in the order in which they were written. Not by a consumer that ends when nothing
   * is pending: what is written over meanwhile stays pending for ever. Seen with nats-server 2.9.10.
   */
  async all(pattern: string): Promise<BucketEntry[]> {
    const keys = await this.#parts.keysOf(pattern);
    const found: BucketEntry[] = [];
    for (let from = 0; from < keys.length; from += AT_ONCE) {
      const some = await Promise.all(keys.slice(from, from + AT_ONCE).map((key) => this.get(key)));
      found.push(...some.filter((one) => one !== undefined));
    }
    return found.sort((one, other) => one.revision - other.revision);
  }

  /**
   * Tells each value whose key fits, and each that is written from then on; some may come twice, or an older one once more.
   * @param withValues whether to send the values, too.
   * @param heartbeatMs within so long, two and a half times, it is noticed that the servers tell nothing any more.
   * @returns ends it.
   */
  watch(
    pattern: string,
    told: (entry: BucketEntry) => void,
    { withValues = true, heartbeatMs = HEARTBEAT_MS } = {},
  ): Promise<() => void> {
    return this.#parts.watching({ pattern, told, withValues, heartbeatMs });
  }
}
