import { asMoultError, MoultError } from '../errors.js';
import type { FileLock } from '../os/file-lock.js';
import type { Holding, Origin } from './holding.js';
import type { TaskLocks } from './locks.js';

/** How long after a failed begin the next one follows; twice as long each time, up to the longest. */
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;

/** What a task was let go with, and whom that is from. */
export interface Given {
  readonly data: unknown;
  readonly origin: Origin;
}

const NOTHING: Given = { data: undefined, origin: 'nobody' };

/**
 * One holding in this process. What is asked of it is done in the order in which it was asked, each thing after the
 * one before is over: it can be told to end while it begins, or to begin again while it ends.
 */
export class Task {
  readonly holding: Holding;
  readonly #locks: TaskLocks | undefined;
  readonly #onFailure: (error: MoultError) => void;
  #lock: FileLock | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #isHere = false;
  #isLeaving = false;
  #unused = NOTHING;
  #arrive: ((given: Given | undefined) => void) | undefined;
  #wake: (() => void) | undefined;

  /** @param onFailure told each time that it could not begin; it is tried again. */
  constructor(holding: Holding, locks: TaskLocks | undefined, onFailure: (error: MoultError) => void) {
    this.holding = holding;
    this.#locks = holding.overlaps ? undefined : locks;
    this.#onFailure = onFailure;
  }

  get name(): string {
    return this.holding.name;
  }

  /** Has it begin here. @returns when it has, or was told to leave before. */
  begin(epoch: number, given: Given = NOTHING): Promise<void> {
    this.#isLeaving = false;
    return this.#inTurn(() => this.#begin(epoch, given));
  }

  /** Has it begin here as soon as its former owner gives it. */
  expect(epoch: number): Promise<void> {
    this.#isLeaving = false;
    const arrival = new Promise<Given | undefined>((resolve) => {
      this.#arrive = resolve;
    });
    return this.#inTurn(async () => {
      const given = await arrival;
      if (given !== undefined) await this.#begin(epoch, given);
    });
  }

  /** The former owner has given it; undefined when it never will, because it keeps it. */
  arrive(given: Given | undefined): void {
    this.#arrive?.(given);
    this.#arrive = undefined;
  }

  /** Has it end here. One that is still expected passes through without beginning. @returns what it was let go with. */
  letGo(withinMs: number): Promise<Given> {
    this.#isLeaving = true;
    this.#wake?.();
    return this.#inTurn(() => this.#end(withinMs));
  }

  /** What came up at the former owner after it had given the rest. */
  receive(data: unknown): void {
    this.holding.receive(data);
  }

  async #begin(epoch: number, given: Given): Promise<void> {
    this.#unused = given;
    for (let waitMs = FIRST_RETRY_MS; !this.#isLeaving; waitMs = Math.min(2 * waitMs, LONGEST_RETRY_MS)) {
      try {
        this.#lock = await this.#locks?.take(this.name, () => !this.#isLeaving);
        if (this.#isLeaving) break;
        await this.holding.begin(epoch, given.data, given.origin);
        this.#isHere = true;
        this.#unused = NOTHING;
        return;
      } catch (cause) {
        this.#unlock();
        const why = cause instanceof Error ? cause.message : String(cause);
        this.#onFailure(
          new MoultError('MOULT_TASK_FAILED', `${this.name} could not begin: ${why}`, { cause }),
        );
      }
      await this.#wait(waitMs);
    }
    this.#unlock();
  }

  async #end(withinMs: number): Promise<Given> {
    if (!this.#isHere) return this.#unused;
    const limitMs = this.holding.endWithinMs ?? withinMs;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), limitMs);
    let data: unknown;
    try {
      data = await this.holding.end(limit.signal, limitMs);
    } catch (cause) {
      const { message } = asMoultError(cause, 'MOULT_TASK_FAILED');
      process.emitWarning(`${this.name} failed when it was to end: ${message}`, 'MoultWarning');
    } finally {
      clearTimeout(timer);
    }
    this.#isHere = false;
    this.#unlock();
    return { data, origin: 'former' };
  }

  #unlock(): void {
    this.#lock?.release();
    this.#lock = undefined;
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
