import { asMoultError, MoultError } from '../errors.js';
import type { FileLock } from '../os/files/file-lock.js';
import type { Origin, Runner, TaskDeparture } from './runners/runner.js';
import type { TaskLocks } from './task-locks.js';

/** How long after a failed begin the next one follows; twice as long each time, up to the longest. */
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;
/** Nothing is done then: it is the longest time that a timer has. */
const KEPT_MS = 2 ** 31 - 1;

/** What a task was let go with, and whom that is from. */
export interface Given {
  readonly data: unknown;
  readonly origin: Origin;
}

const NOTHING: Given = { data: undefined, origin: 'nobody' };

/**
 * What one runner does in this process. What is asked of it is done in the order in which it was asked, each thing after the
 * one before is over: it can be told to end while it begins, or to begin again while it ends.
 */
export class Task {
  readonly runner: Runner;
  readonly #locks: TaskLocks | undefined;
  readonly #onFailure: (error: MoultError) => void;
  readonly #onIdle: () => void;
  #lock: FileLock | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #isHere = false;
  #isLeaving = false;
  #unused = NOTHING;
  #leaving: Leaving | undefined;
  #arrive: ((given: Given | undefined) => void) | undefined;
  #wake: (() => void) | undefined;
  #endKept = () => {};

  /**
   * @param onFailure told each time that it could not begin; it is tried again.
   * @param onIdle told when nothing of it ends or finishes here any more.
   */
  constructor(
    runner: Runner,
    locks: TaskLocks | undefined,
    onFailure: (error: MoultError) => void,
    onIdle: () => void,
  ) {
    this.runner = runner;
    this.#locks = runner.overlaps ? undefined : locks;
    this.#onFailure = onFailure;
    this.#onIdle = onIdle;
  }

  get name(): string {
    return this.runner.name;
  }

  /** Whether nothing of it ends or finishes here. */
  get isIdle(): boolean {
    return this.#leaving === undefined;
  }

  /** Has it begin here. @returns when it has, or was told to leave before. */
  begin(epoch: number, given: Given = NOTHING): Promise<void> {
    this.stay();
    return this.#kept(this.#inTurn(() => this.#begin(epoch, given)));
  }

  /** Has it begin here as soon as its former owner gives it. */
  expect(epoch: number): Promise<void> {
    this.stay();
    const arrival = new Promise<Given | undefined>((resolve) => {
      this.#arrive = resolve;
    });
    const beginning = this.#inTurn(async () => {
      const given = await arrival;
      if (given !== undefined) await this.#begin(epoch, given);
    });
    return this.#kept(beginning);
  }

  /** The former owner has given it; undefined when it never will, because it keeps it. */
  arrive(given: Given | undefined): void {
    this.#arrive?.(given);
    this.#arrive = undefined;
  }

  /**
   * Has it end here; what it leaves running is finished. One that is still expected passes through without beginning.
   * @param goesOn whether another generation has it next.
   * @returns what it was let go with, as soon as it may begin elsewhere.
   */
  letGo(withinMs: number, goesOn: boolean): Promise<Given> {
    this.stay();
    this.#isLeaving = true;
    this.#endKept();
    this.#wake?.();
    const leaving = new Leaving();
    this.#leaving = leaving;
    const ended = this.#inTurn(() => this.#end(leaving, withinMs, goesOn));
    ended.then(() => this.#finish(leaving, withinMs, goesOn));
    return ended;
  }

  /** It was to leave, and stays: its end is called off as far as it has not come, and nothing ends at a deadline. */
  stay(): void {
    this.#isLeaving = false;
    const leaving = this.#leaving;
    this.#leaving = undefined;
    leaving?.callOff();
  }

  /** Its process is about to end: what still ends or finishes here is told that its time is over. */
  hurry(): void {
    this.#leaving?.hurry();
  }

  /** What came up at the former owner after it had given the rest. */
  receive(data: unknown): void {
    this.runner.receive(data);
  }

  async #begin(epoch: number, given: Given): Promise<void> {
    // Where a hand-back is called off it may be both what this side had given and what the other one had kept.
    if (this.#isHere) return;
    this.#unused = given;
    let { origin } = given;
    // The former owner had let go of the lock before it gave this: another slot has it meanwhile, and does more.
    const isElsewhere = () => {
      if (origin === 'former') origin = 'again';
    };
    for (let waitMs = FIRST_RETRY_MS; !this.#isLeaving; waitMs = Math.min(2 * waitMs, LONGEST_RETRY_MS)) {
      try {
        this.#lock = await this.#locks?.take(
          this.name,
          this.runner.isOfSlot === true,
          () => !this.#isLeaving,
          isElsewhere,
        );
        if (this.#isLeaving) break;
        await this.runner.begin(epoch, given.data, origin);
        this.#isHere = true;
        this.#unused = NOTHING;
        return;
      } catch (cause) {
        this.#unlock();
        const why = cause instanceof Error ? cause.message : String(cause);
        this.#onFailure(
          new MoultError('MOULT_TASK_FAILED', `${this.name} could not start: ${why}`, { cause }),
        );
      }
      await this.#wait(waitMs);
    }
    this.#unlock();
  }

  async #end(leaving: Leaving, withinMs: number, goesOn: boolean): Promise<Given> {
    if (!this.#isHere) return this.#unused;
    const { endWithinMs } = this.runner;
    // One with a time of its own for its end keeps it: it cannot begin again before it has ended.
    const departure = leaving.within(endWithinMs ?? withinMs, goesOn, endWithinMs !== undefined);
    let data: unknown;
    try {
      data = await this.runner.end(departure);
    } catch (cause) {
      const { message } = asMoultError(cause, 'MOULT_TASK_FAILED');
      process.emitWarning(`${this.name} failed while stopping: ${message}`, 'MoultWarning');
    } finally {
      leaving.clear();
    }
    this.#isHere = false;
    if (goesOn && this.#lock !== undefined) this.#locks?.leave(this.#lock);
    this.#unlock();
    return { data, origin: 'former' };
  }

  async #finish(leaving: Leaving, withinMs: number, goesOn: boolean): Promise<void> {
    if (this.#leaving !== leaving) return;
    await Promise.resolve(this.runner.finish(leaving.within(withinMs, goesOn, false))).catch(() => {});
    leaving.clear();
    if (this.#leaving !== leaving) return;
    this.#leaving = undefined;
    this.#onIdle();
  }

  /**
   * The process does not end of itself meanwhile. Of a worker that has no listener, and whose consumer has closed its
   * connections when it stopped, there is nothing else that Node would wait for.
   */
  #kept(beginning: Promise<void>): Promise<void> {
    this.#endKept();
    const kept = setInterval(() => {}, KEPT_MS);
    this.#endKept = () => clearInterval(kept);
    return beginning.finally(() => clearInterval(kept));
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

/** The way out of one that leaves: its deadlines, until it stays after all. */
class Leaving {
  readonly #calledOff = new AbortController();
  #limit = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #isKept = false;
  #isOver = false;

  /** @param isKept whether the deadline holds although it stays. */
  within(withinMs: number, goesOn: boolean, isKept: boolean): TaskDeparture {
    const limit = new AbortController();
    this.#limit = limit;
    this.#isKept = isKept;
    if (this.#isOver) limit.abort();
    else this.#timer = setTimeout(() => limit.abort(), withinMs);
    return { limit: limit.signal, calledOff: this.#calledOff.signal, withinMs, goesOn };
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  /** The time is over now, whatever is left of it. */
  hurry(): void {
    this.#isOver = true;
    this.clear();
    this.#limit.abort();
  }

  callOff(): void {
    if (!this.#isKept) this.clear();
    this.#calledOff.abort();
  }
}
