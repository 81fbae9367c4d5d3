/**
 * Hands consumers of Redis Streams groups over at a restart. Imports only types of `ioredis`.
 *
 * @module moult/redis-streams
 */

/*
 * Over 300 lines: reading, claiming and acknowledging share what is in hand, and which of them may run.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { MoultError } from '../errors.js';
import type { Consumer, ConsumerStart, ConsumerStop } from '../tasks/consumer.js';
import { ConsumerErrors, type OnError } from './consumer-errors.js';
import { InHand } from './in-hand.js';
import { StreamGroup, type StreamRow } from './redis/stream-group.js';
import { untilAborted } from './until-aborted.js';
import { withTimeout } from './with-timeout.js';

/** One entry of a stream. */
export interface StreamEntry {
  /** Its id in Redis, such as `1526569495631-0`. */
  readonly id: string;
  /** Its fields; the last one if a name occurs more than once. */
  readonly fields: Readonly<Record<string, string>>;
  /** Names and values as they were added: `[name, value, name, value, …]`. */
  readonly values: readonly string[];
}

/** The context of an entry. */
export interface StreamDelivery {
  /** Aborts at the deadline of a stop: the entry is given up and delivered again. */
  readonly signal: AbortSignal;
  /** Grows with every change of owner; see `ConsumerStart`. */
  readonly epoch: number;
}

/** A consumer of a group, and how to handle its entries. */
export interface RedisStreamsOptions {
  /**
   * An ioredis client of the service. Entries are read through duplicates of it and acknowledged through the
   * client itself.
   */
  readonly redis: Redis;
  /** The key of the stream. */
  readonly stream: string;
  /** The consumer group. It is created if it does not exist, and so is the stream. */
  readonly group: string;
  /**
   * The name of this consumer: the same in every generation, and unique in the group. With `overlap`, each
   * generation appends a number.
   */
  readonly consumer: string;
  /** The entry at which a new group starts: `0` (default) for the first, `$` for the next new one. */
  readonly from?: string;
  /**
   * Handles one entry. The entry is acknowledged when this returns or its promise fulfils. If it throws,
   * `onError` is called, and the entry is delivered again after `claimIdleMs`.
   */
  handle(entry: StreamEntry, delivery: StreamDelivery): unknown;
  /** How many entries are handled at the same time; default 1, which keeps their order. */
  readonly concurrency?: number;
  /** How many entries are read ahead; default 10. */
  readonly count?: number;
  /**
   * After how many milliseconds to claim an unacknowledged entry of another consumer; default 60,000. It must
   * be longer than the longest `handle`. `never` claims none; entries of a predecessor in exclusive mode are
   * always taken over.
   */
  readonly claimIdleMs?: number | 'never';
  /** How long Redis may take to answer before this generation takes over, in milliseconds; default 5,000. */
  readonly connectWithinMs?: number;
  /**
   * Called when a handler throws, with its entry, and when Redis refuses or cannot answer; default: a process
   * warning.
   */
  readonly onError?: OnError<StreamEntry>;
}

/**
 * A consumer of a Redis Streams group, for `service.consumer()`. When it stops, the pending read ends, and
 * entries in progress are finished and acknowledged. The rest stays pending; the successor handles it first,
 * in order.
 * @throws MOULT_BAD_OPTION; MOULT_BROKER_UNREACHABLE in `prepare()` and the first `start()`.
 */
export function redisStreams(options: RedisStreamsOptions): Consumer {
  return new RedisStreamsConsumer(options);
}

const CONNECT_WITHIN_MS = 5000;
const COUNT = 10;
const CLAIM_IDLE_MS = 60_000;
/** How long a read waits, and so how often others' entries are looked at, at least. */
const BLOCK_MS = 5000;
const UNBLOCK_AGAIN_MS = 5;
/** As many as Redis counts, and as many milliseconds as it can note. */
const MAX_NUMBER = 2 ** 31 - 1;

/** What a stop in exclusive mode saves. */
interface Saved {
  /** Entries that have been dealt with, but could not be acknowledged. */
  readonly handled: readonly string[];
}

/** What is read under one name, from a start to its stop. */
interface ConsumeRun {
  readonly name: string;
  readonly reader: Redis;
  readonly inHand: InHand<StreamEntry>;
  /** The connection's number, by which its read can be ended; undefined while it is not known. */
  clientId: number | undefined;
  /** What to read after: `>` for what is new, an id for what this consumer has been given already. */
  after: string;
  claimedAtMs: number;
  isStopping: boolean;
  reading: Promise<void>;
}

class RedisStreamsConsumer implements Consumer {
  readonly #options: RedisStreamsOptions;
  readonly #count: number;
  readonly #concurrency: number;
  readonly #claimIdleMs: number | 'never';
  readonly #what: string;
  readonly #group: StreamGroup;
  /** Connected, and not read from yet. */
  #reader: Redis | undefined;
  #run: ConsumeRun | undefined;
  #epoch = 0;
  /** In hand, by their ids. */
  #taken = new Set<string>();
  /** Dealt with, but not known to be acknowledged. */
  #handled = new Set<string>();
  #ownNames = new Set<string>();
  #hasConsumed = false;
  readonly #errors: ConsumerErrors<StreamEntry>;

  constructor(options: RedisStreamsOptions) {
    this.#options = options;
    this.#count = wholeNumber('count', options.count ?? COUNT);
    this.#concurrency = wholeNumber('concurrency', options.concurrency ?? 1);
    this.#claimIdleMs = options.claimIdleMs ?? CLAIM_IDLE_MS;
    if (this.#claimIdleMs !== 'never') wholeNumber('claimIdleMs', this.#claimIdleMs);
    this.#group = new StreamGroup(options);
    this.#what = `the group ${options.group} of the stream ${options.stream} in Redis`;
    this.#errors = new ConsumerErrors(this.#what, options.onError);
  }

  async prepare(): Promise<void> {
    const reader = this.#connect();
    try {
      await this.#reached(reader);
    } catch (error) {
      this.#reader = undefined;
      reader.disconnect();
      throw error;
    }
  }

  async start({ epoch, saved, changeover }: ConsumerStart): Promise<void> {
    const reader = this.#reader ?? this.#connect();
    // The one that goes on after an undo waits for Redis instead: it is the last that can.
    if (!this.#hasConsumed) await this.#reached(reader);
    this.#hasConsumed = true;
    this.#reader = undefined;
    this.#epoch = epoch;
    const { consumer } = this.#options;
    const name = changeover === 'overlap' ? `${consumer}-${epoch}` : consumer;
    if (changeover === 'overlap') this.#ownNames.add(name);
    for (const id of (saved as Saved | undefined)?.handled ?? []) this.#handled.add(id);
    const run: ConsumeRun = {
      name,
      reader,
      inHand: new InHand(this.#concurrency, (entry, signal) => this.#deal(entry, signal)),
      clientId: undefined,
      after: '0',
      claimedAtMs: Number.NEGATIVE_INFINITY,
      isStopping: false,
      reading: Promise.resolve(),
    };
    this.#run = run;
    run.reading = this.#read(run);
  }

  async stop({ signal, changeover }: ConsumerStop): Promise<Saved | undefined> {
    const run = this.#run;
    this.#run = undefined;
    if (run === undefined) return undefined;
    const { inHand, reader } = run;
    run.isStopping = true;
    // Beside a successor that has begun already, nobody else would get to what waits soon.
    if (changeover === 'exclusive') inHand.hold();
    await this.#endReading(run, signal);
    await inHand.settled(signal);
    inHand.hold();
    const rest = inHand.giveAll(new Error('the entry is given up: this generation stops consuming'));
    for (const { id } of rest) this.#taken.delete(id);
    const undone = rest.filter(({ id }) => !this.#handled.has(id));
    if (changeover === 'overlap') await this.#giveUp(run.name, undone, signal);
    reader.disconnect();
    if (this.#handled.size === 0) return undefined;
    return { handled: [...this.#handled] };
  }

  async close(): Promise<void> {
    this.#reader?.disconnect();
    this.#reader = undefined;
    // Of the names with a number: nothing else would ever remove them.
    for (const name of this.#ownNames)
      await this.#group.removeConsumer(this.#options.redis, name).catch(() => {});
  }

  get #withinMs(): number {
    return this.#options.connectWithinMs ?? CONNECT_WITHIN_MS;
  }

  /**
   * Makes a connection to read through. A command that is lost with it fails at once; ioredis would send it
   * again.
   */
  #connect(): Redis {
    const reader = this.#options.redis.duplicate({ lazyConnect: true, maxRetriesPerRequest: 0 });
    // A connection that is lost is told by the read that it fails.
    reader.on('error', () => {});
    this.#reader = reader;
    return reader;
  }

  /** @throws MOULT_BROKER_UNREACHABLE */
  async #reached(reader: Redis): Promise<void> {
    const reach = async () => {
      // Lost since it was prepared, and not to come back by itself where the service's client is told not to.
      if (reader.status === 'wait' || reader.status === 'end') await reader.connect();
      await this.#group.make(reader, this.#options.from);
    };
    await withTimeout(reach(), this.#withinMs, this.#what);
  }

  async #read(run: ConsumeRun): Promise<void> {
    const { reader, inHand } = run;
    while (!run.isStopping) {
      try {
        run.clientId ??= await this.#clientId(run);
        if (inHand.waiting >= this.#count) await inHand.changed;
        else {
          await this.#claim(run);
          await this.#readOnce(run);
        }
      } catch (error) {
        if (run.isStopping) return;
        // What the lost answer held has been given to this consumer, and comes when it reads its own again.
        run.clientId = undefined;
        run.after = '0';
        if (reader.status === 'ready') {
          this.#errors.tell(error);
          await pause(RETRY_MS);
        } else await this.#readyAgain(run);
      }
    }
  }

  /** Connected anew, since another connection has another number. */
  async #clientId({ reader }: ConsumeRun): Promise<number> {
    if (reader.status === 'wait') await reader.connect();
    await this.#group.make(reader, this.#options.from);
    return reader.client('ID');
  }

  async #readyAgain({ reader, inHand }: ConsumeRun): Promise<void> {
    if (reader.status === 'end') {
      await pause(RETRY_MS);
      return reader.connect().catch(() => {});
    }
    let ready = () => {};
    const isReady = new Promise<void>((resolve) => {
      ready = resolve;
    });
    reader.once('ready', ready);
    // A stop wakes it, too.
    await Promise.race([isReady, inHand.changed]);
    reader.off('ready', ready);
  }

  async #readOnce(run: ConsumeRun): Promise<void> {
    const { reader, inHand, name } = run;
    const room = this.#count - inHand.waiting;
    if (run.after === '>') {
      if (run.isStopping) return;
      this.#take(run, await this.#group.readNew(reader, name, room, BLOCK_MS));
      return;
    }
    const rows = await this.#group.readOwn(reader, name, room, run.after);
    this.#take(run, rows);
    run.after = rows.at(-1)?.[0] ?? '>';
  }

  /** Takes what others have left behind. */
  async #claim(run: ConsumeRun): Promise<void> {
    if (this.#claimIdleMs === 'never' || run.after !== '>') return;
    if (performance.now() - run.claimedAtMs < BLOCK_MS) return;
    run.claimedAtMs = performance.now();
    const { reader, name } = run;
    this.#take(run, await this.#group.claimIdle(reader, name, this.#claimIdleMs, this.#count));
  }

  #take({ inHand }: ConsumeRun, rows: readonly StreamRow[]): void {
    for (const [id, values] of rows) {
      if (this.#taken.has(id)) continue;
      // Dealt with before, or removed from the stream: there is nothing left to do but to say so.
      if (values === null || this.#handled.has(id)) this.#acknowledge(id);
      else {
        this.#taken.add(id);
        inHand.take({ id, values, fields: fieldsOf(values) });
      }
    }
  }

  async #deal(entry: StreamEntry, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.handle(entry, { signal, epoch: this.#epoch });
    } catch (error) {
      if (signal.aborted) return;
      this.#taken.delete(entry.id);
      this.#errors.tell(error, entry);
      return;
    }
    if (signal.aborted) return;
    this.#handled.add(entry.id);
    await this.#acknowledge(entry.id);
    this.#taken.delete(entry.id);
  }

  async #acknowledge(id: string): Promise<void> {
    try {
      await this.#group.acknowledge(this.#options.redis, id);
      this.#handled.delete(id);
    } catch (error) {
      this.#errors.tell(error);
    }
  }

  /** Ends the read that waits. Redis answers it as if its time were over, so no entry is on its way unseen. */
  async #endReading(run: ConsumeRun, signal: AbortSignal): Promise<void> {
    const { redis } = this.#options;
    let isOver = false;
    const over = run.reading.then(() => {
      isOver = true;
    });
    run.inHand.wake();
    while (!isOver && !signal.aborted) {
      // Asked again: the read may not have been there yet.
      if (run.reader.status !== 'ready') run.reader.disconnect();
      else if (run.clientId !== undefined) redis.client('UNBLOCK', run.clientId).catch(() => {});
      await Promise.race([over, pause(UNBLOCK_AGAIN_MS)]);
    }
    if (!isOver) run.reader.disconnect();
    await over;
  }

  /** Leaves entries to be claimed at once by whoever looks. */
  async #giveUp(name: string, entries: readonly StreamEntry[], signal: AbortSignal): Promise<void> {
    if (entries.length === 0) return;
    const ids = entries.map(({ id }) => id);
    const given = this.#group.leave(this.#options.redis, name, ids).then(
      () => {},
      (error) => this.#errors.tell(error),
    );
    await Promise.race([given, untilAborted(signal, given).then(() => pause(GRACE_MS))]);
  }
}

const RETRY_MS = 500;
const GRACE_MS = 1000;

function fieldsOf(values: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = Object.create(null);
  for (let i = 0; i < values.length; i += 2) fields[values[i] ?? ''] = values[i + 1] ?? '';
  return fields;
}

function wholeNumber(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= MAX_NUMBER) return value;
  throw new MoultError(
    'MOULT_BAD_OPTION',
    `redisStreams: expected ${name} to be a whole number from 1 on, received ${value}`,
  );
}
