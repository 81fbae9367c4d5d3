import type { Origin, Runner, TaskDeparture } from './runner.js';
import { Running } from './running.js';

/** The context of a scheduled run. */
export interface TickContext {
  /** The time at which this run was due. */
  readonly at: Date;
  /** Aborts when the run must end, because its time is over. */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner. A late write of a former owner has a lower one. */
  readonly epoch: number;
}

/** Options of a scheduled task. */
export interface ScheduleOptions {
  /**
   * Whether to skip a tick while an earlier run is in progress, in this generation or its predecessor;
   * default false.
   */
  readonly protect?: boolean;
}

interface Ended {
  /** When the last tick was due that was run; milliseconds of the wall clock. */
  readonly lastMs: number;
}

/** Ticks that are late by more are left out: the machine slept, or nobody had the schedule. */
const CATCH_UP_MS = 60_000;
/** The longest time-out that Node takes. */
const LONGEST_MS = 2 ** 31 - 1;

/** A periodic task: each tick is run by one generation, also one that falls into a handover. */
export class ScheduleRunner implements Runner {
  readonly name: string;
  readonly overlaps = false;
  readonly endWithinMs = undefined;
  readonly #next: (afterMs: number) => number | undefined;
  readonly #run: (context: TickContext) => unknown;
  readonly #protects: boolean;
  readonly #running: Running;
  #epoch = 0;
  #lastMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param next when the tick after this moment is due; undefined when there is none. Milliseconds of the
   *   wall clock.
   */
  constructor(
    name: string,
    next: (afterMs: number) => number | undefined,
    run: (context: TickContext) => unknown,
    options: ScheduleOptions,
  ) {
    this.name = name;
    this.#next = next;
    this.#run = run;
    this.#protects = options.protect === true;
    this.#running = new Running(`task ${name}`);
  }

  prepare(): void {}

  // After a death nobody knows which ticks were run: it goes on with the next one.
  begin(epoch: number, given: unknown, origin: Origin): void {
    const now = Date.now();
    const from = origin === 'former' ? ((given as Ended | undefined)?.lastMs ?? now) : now;
    this.#epoch = epoch;
    this.#lastMs = Math.max(from, now - CATCH_UP_MS);
    this.#arm();
  }

  receive(): void {}

  async end(departure: TaskDeparture): Promise<Ended> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#protects) await this.#running.over(departure);
    return { lastMs: this.#lastMs };
  }

  finish(departure: TaskDeparture): Promise<void> {
    return this.#running.over(departure);
  }

  close(): void {}

  #arm(): void {
    const dueMs = this.#next(this.#lastMs);
    if (dueMs === undefined) return;
    const waitMs = Math.min(Math.max(0, dueMs - Date.now()), LONGEST_MS);
    this.#timer = setTimeout(() => {
      if (Date.now() >= dueMs) this.#tick(dueMs);
      this.#arm();
    }, waitMs);
  }

  #tick(dueMs: number): void {
    this.#lastMs = dueMs;
    if (Date.now() - dueMs > CATCH_UP_MS) this.#lastMs = Date.now() - CATCH_UP_MS;
    else if (!this.#protects || this.#running.size === 0) {
      const epoch = this.#epoch;
      this.#running.run((signal) => this.#run({ at: new Date(dueMs), signal, epoch }));
    }
  }
}
