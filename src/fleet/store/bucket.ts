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

/** A bucket, with writes that compare first. */
export class Bucket {
  readonly #kv: KV;
  readonly #keysOf: (pattern: string) => Promise<string[]>;

  /** @param keysOf asks the server which keys fit a pattern. */
  constructor(kv: KV, keysOf: (pattern: string) => Promise<string[]>) {
    this.#kv = kv;
    this.#keysOf = keysOf;
  }

  /** The value of a key; undefined where it has none. */
  async get(key: string): Promise<BucketEntry | undefined> {
    const found = await this.#kv.get(key);
    if (found === null || found.operation !== 'PUT') return undefined;
    return { key, bytes: found.value, revision: found.revision };
  }

  /** Sets a key that only the caller writes. @returns the revision. */
  put(key: string, value: unknown): Promise<number> {
    return this.#kv.put(key, JSON.stringify(value));
  }

  /**
   * Sets a key, if its last revision is this one; 0 for none yet.
   * @returns the new revision; undefined where somebody else has written meanwhile.
   */
  async compareAndSet(key: string, value: unknown, revision: number): Promise<number | undefined> {
    const text = JSON.stringify(value);
    try {
      return await (revision === 0 ? this.#kv.create(key, text) : this.#kv.update(key, text, revision));
    } catch (error) {
      if ((error as { code?: unknown }).code === WRONG_LAST_SEQUENCE) return undefined;
      throw error;
    }
  }

  /** Removes a key. */
  async remove(key: string): Promise<void> {
    await this.#kv.purge(key);
  }

  /**
   * All values whose keys fit a pattern, in the order in which they were written. Not by a consumer that ends when nothing
   * is pending: what is written over meanwhile stays pending for ever. Seen with nats-server 2.9.10.
   */
  async all(pattern: string): Promise<BucketEntry[]> {
    const keys = await this.#keysOf(pattern);
    const found: BucketEntry[] = [];
    for (let from = 0; from < keys.length; from += AT_ONCE) {
      const some = await Promise.all(keys.slice(from, from + AT_ONCE).map((key) => this.get(key)));
      found.push(...some.filter((one) => one !== undefined));
    }
    return found.sort((one, other) => one.revision - other.revision);
  }

  /**
   * Tells each value whose key fits, and each that is written from then on; those that are there may come twice.
   * @param withValues whether to send the values, too.
   * @returns ends it.
   */
  async watch(
    pattern: string,
    told: (entry: BucketEntry) => void,
    { withValues = true, ended = (): void => {} } = {},
  ): Promise<() => void> {
    const entries = await this.#kv.watch({ key: pattern, headers_only: !withValues });
    const reading = async () => {
      for await (const { key, value, revision, operation } of entries)
        if (operation === 'PUT') told({ key, bytes: value, revision });
    };
    reading().then(ended, ended);
    return () => entries.stop();
  }
}
