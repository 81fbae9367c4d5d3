import type { Redis } from 'ioredis';

/** As idle as Redis can note: whoever looks for entries to claim takes such a one at once. */
const GIVEN_UP_IDLE_MS = 2 ** 31 - 1;

/** An entry as Redis gives it: without values where it has been removed from the stream. */
export type StreamRow = [id: string, values: string[] | null];

/** One group of a stream. */
export interface StreamGroupNames {
  readonly stream: string;
  readonly group: string;
}

/** What Redis is asked about one group of one stream. Each call rejects with what the client of Redis throws. */
export class StreamGroup {
  readonly #names: StreamGroupNames;

  constructor(names: StreamGroupNames) {
    this.#names = names;
  }

  /** Makes it, and the stream, where they are not there. @param from the entry with which it begins then. */
  async make(redis: Redis, from = '0'): Promise<void> {
    const { stream, group } = this.#names;
    try {
      await redis.xgroup('CREATE', stream, group, from, 'MKSTREAM');
    } catch (error) {
      if (!isGroupThere(error)) throw error;
    }
  }

  /** Waits for new entries. @param blockMs how long; none are returned after it. */
  async readNew(redis: Redis, name: string, count: number, blockMs: number): Promise<StreamRow[]> {
    const { stream, group } = this.#names;
    const reply = await redis.xreadgroup(
      'GROUP',
      group,
      name,
      'COUNT',
      count,
      'BLOCK',
      blockMs,
      'STREAMS',
      stream,
      '>',
    );
    return rowsOf(reply);
  }

  /** Entries that a consumer has been given already, and has not acknowledged. @param after the id before the first one. */
  async readOwn(redis: Redis, name: string, count: number, after: string): Promise<StreamRow[]> {
    const { stream, group } = this.#names;
    const reply = await redis.xreadgroup('GROUP', group, name, 'COUNT', count, 'STREAMS', stream, after);
    return rowsOf(reply);
  }

  /** Takes entries that others have had for so long. */
  async claimIdle(redis: Redis, name: string, idleMs: number, count: number): Promise<StreamRow[]> {
    const { stream, group } = this.#names;
    const reply = await redis.xautoclaim(stream, group, name, idleMs, '0', 'COUNT', count);
    return reply[1] as StreamRow[];
  }

  /** An entry has been dealt with. */
  acknowledge(redis: Redis, id: string): Promise<number> {
    return redis.xack(this.#names.stream, this.#names.group, id);
  }

  /** Leaves entries to be claimed at once by whoever looks. */
  leave(redis: Redis, name: string, ids: readonly string[]): Promise<unknown> {
    const { stream, group } = this.#names;
    return redis.call('XCLAIM', [
      stream,
      group,
      name,
      '0',
      ...ids,
      'IDLE',
      String(GIVEN_UP_IDLE_MS),
      'JUSTID',
    ]);
  }

  /** Removes a consumer; one with entries is left, since they would be forgotten with it. */
  async removeConsumer(redis: Redis, name: string): Promise<void> {
    const { stream, group } = this.#names;
    if (redis.status !== 'ready') return;
    const rows = (await redis.xinfo('CONSUMERS', stream, group)) as unknown[][];
    const own = rows.find((row) => row[row.indexOf('name') + 1] === name);
    if (own?.[own.indexOf('pending') + 1] !== 0) return;
    await redis.xgroup('DELCONSUMER', stream, group, name);
  }
}

function isGroupThere(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('BUSYGROUP');
}

/** Of one stream at most, since one was asked for; an object where the client maps replies as RESP3 has them. */
function rowsOf(reply: unknown): StreamRow[] {
  if (Array.isArray(reply)) return reply[0]?.[1] ?? [];
  return Object.values((reply ?? {}) as Record<string, StreamRow[]>)[0] ?? [];
}
