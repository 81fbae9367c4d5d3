/**
 * Hands BullMQ workers over at a restart. Imports only types of `bullmq`.
 *
 * @module moult/bullmq
 */
import type { Job, Processor, Worker } from 'bullmq';
import { MoultError } from '../errors.js';
import type { Consumer, ConsumerStart, ConsumerStop } from '../tasks/consumer.js';
import { settledSoonAfter, unreachable, withTimeout } from './with-timeout.js';

/** The processor of a worker, as BullMQ calls it. */
export type BullMqProcess<Data = unknown, Result = unknown, Name extends string = string> = (
  job: Job<Data, Result, Name>,
  token: string | undefined,
  signal: AbortSignal,
) => Promise<Result>;

/** A worker and its processor. */
export interface BullMqOptions<Data = unknown, Result = unknown, Name extends string = string> {
  /**
   * Creates the worker, with `process` as its processor and `autorun: false`: `(process) => new
   * Worker('mails', process, { connection, autorun: false })`. Called when this generation prepares, and
   * again if it continues after its successor has failed.
   */
  worker(process: Processor<Data, Result, Name>): Worker<Data, Result, Name>;
  /**
   * Processes one job. When `signal` aborts, give the job up: an error thrown then does not count as a
   * failure, but returns the job to the front of its queue, with what `job.updateProgress()` and
   * `job.updateData()` have stored.
   */
  process: BullMqProcess<Data, Result, Name>;
  /**
   * What happens to jobs in progress when this generation stops consuming.
   * - `finish` (default): they finish. Those still running at the deadline return to the queue.
   * - `hand-over`: their signal aborts at once; the successor continues from their stored progress.
   */
  readonly atStop?: 'finish' | 'hand-over';
  /** How long Redis may take to answer before this generation takes over, in milliseconds; default 5,000. */
  readonly connectWithinMs?: number;
}

/**
 * A BullMQ worker, for `service.consumer()`. Before the worker closes, it finishes jobs in progress and takes
 * no new ones. If a job returns to the queue, its former run loses the lock, and its result is not stored.
 * @throws MOULT_BROKER_UNREACHABLE in `prepare()` and the first `start()`; MOULT_NOT_SETTLED in `stop()`;
 *   MOULT_BAD_OPTION in `prepare()`, if the worker was created without `autorun: false`.
 */
export function bullmq<Data = unknown, Result = unknown, Name extends string = string>(
  options: BullMqOptions<Data, Result, Name>,
): Consumer {
  return new BullMqConsumer(options);
}

const CONNECT_WITHIN_MS = 5000;

/** A job in progress. */
interface Turn {
  /** Asks it to give up. */
  readonly signal: AbortController;
  /** Goes on without it. */
  giveBack(): void;
}

/** By its name BullMQ knows that the job has been put back and not failed. */
class JobPutBack extends Error {
  override readonly name = 'WaitingError';
}

class BullMqConsumer<Data, Result, Name extends string> implements Consumer {
  readonly #options: BullMqOptions<Data, Result, Name>;
  readonly #turns = new Set<Turn>();
  #worker: Worker<Data, Result, Name> | undefined;
  #running: Promise<void> | undefined;
  #stopping: ConsumerStop | undefined;
  #hasRun = false;

  constructor(options: BullMqOptions<Data, Result, Name>) {
    this.#options = options;
  }

  async prepare(): Promise<void> {
    const worker = this.#make();
    let last: unknown;
    const noted = (error: unknown) => {
      last = error;
    };
    worker.on('error', noted);
    try {
      await withTimeout(worker.waitUntilReady(), this.#connectWithinMs, nameOf(worker));
    } catch (error) {
      this.#worker = undefined;
      // Waits for nothing; it may try to connect until then.
      worker.close(true).catch(noted);
      throw last === undefined ? error : unreachable(nameOf(worker), last);
    } finally {
      if (this.#worker === worker) worker.off('error', noted);
    }
  }

  async start(_: ConsumerStart): Promise<void> {
    const worker = this.#worker ?? this.#make();
    // The one that goes on after an undo waits for Redis instead: it is the last that can.
    if (!this.#hasRun) await withTimeout(roundTrip(worker), this.#connectWithinMs, nameOf(worker));
    this.#hasRun = true;
    this.#stopping = undefined;
    this.#running = worker.run().catch((error) => void worker.emit('error', error));
  }

  async stop(stop: ConsumerStop): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    this.#stopping = stop;
    if (this.#options.atStop === 'hand-over') this.#abort();
    const giveBack = () => this.#giveBack();
    stop.signal.addEventListener('abort', giveBack, { once: true });
    if (stop.signal.aborted) giveBack();
    const wakes = wakeOthers(worker, this.#running);
    try {
      await settledSoonAfter(stop.signal, Promise.all([worker.close(), wakes]), nameOf(worker));
    } finally {
      stop.signal.removeEventListener('abort', giveBack);
    }
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.close();
  }

  get #connectWithinMs(): number {
    return this.#options.connectWithinMs ?? CONNECT_WITHIN_MS;
  }

  #make(): Worker<Data, Result, Name> {
    const worker = this.#options.worker(this.#process);
    if (worker.opts.autorun !== false) {
      worker.close(true).catch(() => {});
      throw new MoultError(
        'MOULT_BAD_OPTION',
        `${nameOf(worker)}: expected a worker with autorun: false, received one that starts by itself`,
      );
    }
    this.#worker = worker;
    return worker;
  }

  /** With its three parameters, BullMQ gives it a signal. */
  readonly #process: Processor<Data, Result, Name> = async (job, token, signal) => {
    if (this.#stopping !== undefined) return putBack(job, token);
    const turn = new AbortController();
    const either = signal === undefined ? turn.signal : AbortSignal.any([signal, turn.signal]);
    let entry: Turn | undefined;
    const given = new Promise<never>((_, reject) => {
      entry = { signal: turn, giveBack: () => reject(new JobPutBack()) };
      this.#turns.add(entry);
    });
    try {
      return await Promise.race([this.#options.process(job, token, either), given]);
    } catch (error) {
      if (turn.signal.aborted) return putBack(job, token);
      throw error;
    } finally {
      if (entry !== undefined) this.#turns.delete(entry);
    }
  };

  #abort(): void {
    const reason = new Error('the job is handed over: this generation stops consuming');
    for (const { signal } of this.#turns) signal.abort(reason);
  }

  /** The newest first, since each is put back before all others. */
  #giveBack(): void {
    this.#abort();
    for (const turn of [...this.#turns].reverse()) turn.giveBack();
  }
}

/** Makes the job the next one of its queue. When this worker has lost its lock, it is another's already. */
async function putBack<Data, Result, Name extends string>(
  job: Job<Data, Result, Name>,
  token: string | undefined,
): Promise<never> {
  await job.moveToWait(token).catch(() => {});
  throw new JobPutBack(`job ${job.id} has been put back`);
}

/** A client of BullMQ 6, or ioredis itself in BullMQ 5; none where it runs on something other than Redis. */
interface RedisLike {
  hget(key: string, field: string): Promise<unknown>;
  defineCommand(name: string, script: { readonly numberOfKeys: number; readonly lua: string }): void;
  runCommand?(name: string, args: string[]): Promise<unknown>;
}

interface Reachable {
  readonly name: string;
  readonly client?: Promise<RedisLike>;
  waitUntilReady(): Promise<unknown>;
  toKey(type: string): string;
  getBackend?(): { readonly client?: Promise<RedisLike> };
}

async function clientOf(worker: object): Promise<RedisLike | undefined> {
  const { getBackend, client } = worker as Reachable;
  return getBackend === undefined ? client : getBackend.call(worker).client;
}

async function roundTrip(worker: object): Promise<void> {
  const reachable = worker as Reachable;
  await reachable.waitUntilReady();
  await (await clientOf(worker))?.hget(reachable.toKey('meta'), 'concurrency');
}

const MARK = 'moultMark';
const MARK_SCRIPT = "return redis.call('ZADD', KEYS[1], 0, '0')";

/**
 * Workers are woken by a marker that one of them takes. The worker that is closed breaks off while it waits
 * for it, and may take one along: without another, the successor that already waits would find its job only
 * when it looks again after `drainDelay`. Source: addBaseMarkerIfNeeded in BullMQ's scripts.
 */
async function wakeOthers(worker: object, running: Promise<void> | undefined): Promise<void> {
  if (running === undefined) return;
  const client = await clientOf(worker);
  await running;
  // BullMQ's own close() goes on to end the connection: what is sent in this turn is sent before that.
  const key = (worker as Reachable).toKey('marker');
  if (client?.runCommand !== undefined) {
    client.defineCommand(MARK, { numberOfKeys: 1, lua: MARK_SCRIPT });
    await client.runCommand(MARK, [key]).catch(() => {});
  } else {
    await (client as { zadd?(...args: unknown[]): Promise<unknown> } | undefined)
      ?.zadd?.(key, 0, '0')
      .catch(() => {});
  }
}

function nameOf(worker: object): string {
  return `the queue ${(worker as Reachable).name} of BullMQ`;
}
