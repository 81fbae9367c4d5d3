import type { Holding } from './holding.js';
import { Running } from './running.js';

/** With what a timer runs. */
export interface TimerContext {
  /** When it was due. */
  readonly at: Date;
  /** Aborts when it should come to its end: the time for that is over. */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner: what a former owner still writes can be told by its lower one. */
  readonly epoch: number;
}

/** Timers that keep their due time over restarts. They are in memory: they end with the last generation. */
export interface Timers<T> {
  /**
   * Sets a timer, in place of one of the same id.
   * @param due milliseconds from now, or a moment; one that is past is due at once.
   * @param data structured-cloneable: it may be another generation that runs it.
   */
  set(id: string, due: number | Date, data: T): void;
  /** Takes one back. @returns whether it was known here. One that has changed hands is taken back there. */
  clear(id: string): boolean;
  /** How many wait in this generation. */
  readonly size: number;
}

interface Waiting<T> {
  readonly id: string;
  readonly dueMs: number;
  readonly data: T;
}

interface Passed<T> {
  readonly set?: readonly Waiting<T>[];
  readonly clear?: readonly string[];
}

/** The longest time-out that Node takes. */
const LONGEST_MS = 2 ** 31 - 1;

/** Timers as a holding. */
export class TimersHolding<T> implements Holding, Timers<T> {
  readonly name: string;
  readonly overlaps = false;
  readonly endWithinMs = undefined;
  readonly #run: (id: string, data: T, context: TimerContext) => unknown;
  readonly #running: Running;
  #waiting = new Map<string, Waiting<T>>();
  #armed = new Map<string, NodeJS.Timeout>();
  #isHere = false;
  #passOn: ((given: unknown) => void) | undefined;
  #epoch = 0;

  constructor(name: string, run: (id: string, data: T, context: TimerContext) => unknown) {
    this.name = name;
    this.#run = run;
    this.#running = new Running(`timer of ${name}`);
  }

  get size(): number {
    return this.#waiting.size;
  }

  get passOn(): ((given: unknown) => void) | undefined {
    return this.#passOn;
  }

  set passOn(passOn) {
    this.#passOn = passOn;
    if (passOn === undefined || this.#waiting.size === 0) return;
    // Set since the rest was given.
    passOn({ set: [...this.#waiting.values()] } satisfies Passed<T>);
    this.#waiting.clear();
  }

  set(id: string, due: number | Date, data: T): void {
    const dueMs = typeof due === 'number' ? Date.now() + due : due.getTime();
    const one = { id, dueMs, data };
    if (this.passOn === undefined) this.#add(one);
    else this.passOn({ set: [one] } satisfies Passed<T>);
  }

  clear(id: string): boolean {
    this.passOn?.({ clear: [id] } satisfies Passed<T>);
    clearTimeout(this.#armed.get(id));
    this.#armed.delete(id);
    return this.#waiting.delete(id);
  }

  prepare(): void {}

  begin(epoch: number, given: unknown): void {
    this.#epoch = epoch;
    this.#isHere = true;
    // What was set here meanwhile is newer.
    for (const one of (given as Passed<T> | undefined)?.set ?? []) {
      if (!this.#waiting.has(one.id)) this.#waiting.set(one.id, one);
    }
    for (const one of this.#waiting.values()) this.#arm(one);
  }

  receive(given: unknown): void {
    const { set = [], clear = [] } = given as Passed<T>;
    for (const id of clear) this.clear(id);
    for (const one of set) this.#add(one);
  }

  end(): Passed<T> {
    this.#isHere = false;
    for (const timer of this.#armed.values()) clearTimeout(timer);
    this.#armed.clear();
    const set = [...this.#waiting.values()];
    this.#waiting.clear();
    return { set };
  }

  finish(limit: AbortSignal): Promise<void> {
    return this.#running.over(limit);
  }

  close(): void {}

  #add(one: Waiting<T>): void {
    this.#waiting.set(one.id, one);
    if (this.#isHere) this.#arm(one);
  }

  #arm(one: Waiting<T>): void {
    clearTimeout(this.#armed.get(one.id));
    const waitMs = Math.min(Math.max(0, one.dueMs - Date.now()), LONGEST_MS);
    const timer = setTimeout(() => {
      if (Date.now() < one.dueMs) this.#arm(one);
      else this.#fire(one);
    }, waitMs);
    this.#armed.set(one.id, timer);
  }

  #fire({ id, data, dueMs }: Waiting<T>): void {
    this.#armed.delete(id);
    this.#waiting.delete(id);
    const epoch = this.#epoch;
    this.#running.run((signal) => this.#run(id, data, { at: new Date(dueMs), signal, epoch }));
  }
}
