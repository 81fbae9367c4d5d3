import { EventEmitter } from 'node:events';
import type { KV } from '@nats-io/kv';
import { Bucket, type Watched } from '#moult/fleet/store/bucket.js';
import type { FleetStore } from '#moult/fleet/store/store.js';

interface Kept {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
  readonly operation: 'PUT';
}

/** A bucket in memory, whose server may lag behind: the next so many looks find what was there before. */
export class LaggingKv {
  lag = 0;
  #revision = 0;
  readonly #values = new Map<string, Kept[]>();
  readonly #writes = new EventEmitter();

  /** As a bucket of a fleet. */
  readonly bucket = new Bucket({
    kv: this as unknown as KV,
    keysOf: async (pattern) => [...this.#values.keys()].filter(fits(pattern)),
    replace: (key, text, revision) => this.update(key, text, revision),
    watching: (watched) => this.#watch(watched),
  });

  async get(key: string): Promise<Kept | null> {
    const all = this.#values.get(key) ?? [];
    const isLate = this.lag > 0 && all.length > 1;
    if (isLate) this.lag -= 1;
    return all.at(isLate ? -2 : -1) ?? null;
  }

  async put(key: string, text: string): Promise<number> {
    this.#revision += 1;
    const kept: Kept = {
      key,
      value: new TextEncoder().encode(text),
      revision: this.#revision,
      operation: 'PUT',
    };
    this.#values.set(key, [...(this.#values.get(key) ?? []), kept]);
    this.#writes.emit('write', kept);
    return this.#revision;
  }

  create(key: string, text: string): Promise<number> {
    return this.update(key, text, 0);
  }

  async update(key: string, text: string, revision: number): Promise<number> {
    const last = this.#values.get(key)?.at(-1)?.revision ?? 0;
    if (last !== revision) throw Object.assign(new Error('wrong last sequence'), { code: 10_071 });
    return this.put(key, text);
  }

  async #watch({ pattern, told }: Watched): Promise<() => void> {
    const tell = (kept: Kept) => {
      if (fits(pattern)(kept.key)) told({ ...kept, bytes: kept.value });
    };
    for (const all of this.#values.values()) for (const kept of all.slice(-1)) setImmediate(tell, kept);
    this.#writes.on('write', tell);
    return () => this.#writes.off('write', tell);
  }
}

/** A store of two such buckets. */
export function storeOf(main: LaggingKv, alive = new LaggingKv()): FleetStore {
  return { main: main.bucket, alive: alive.bucket } as unknown as FleetStore;
}

function fits(pattern: string): (key: string) => boolean {
  const parts = pattern.split('.');
  return (key) => {
    const names = key.split('.');
    return names.length === parts.length && parts.every((part, at) => part === '*' || part === names[at]);
  };
}
