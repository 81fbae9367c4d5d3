import { monotonicMs } from '../../os/clock.js';
import { StateMap } from '../../state/state-map.js';
import type { Runner, TaskDeparture } from './runner.js';
import { Running } from './running.js';
import { TimersEntry, type Waiting } from './timers-entry.js';

/** The context of a timer. */
export interface TimerContext {
  /** The time at which it was due. */
  readonly at: Date;
  /** Aborts when the run must end, because its time is over. */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner. A late write of a former owner has a lower one. */
  readonly epoch: number;
}

/** Timers that keep their due time across restarts. They are in memory and end with the last generation. */
export interface Timers<T> {
  /**
   * Sets a timer, replacing one with the same id.
   * @param due milliseconds from now, or a Date; a past time is due at once.
   * @param data structured-cloneable, because another generation may run it.
   */
  set(id: string, due: number | Date, data: T): void;
  /** Clears a timer. @returns whether it was known here. If it was handed over, it is cleared there. */
  clear(id: string): boolean;
  /** The number of timers waiting in this generation. */
  readonly size: number;
}

/** As it goes to, and comes from, a generation that does not know the piece. */
interface Passed<T> {
  readonly set?: readonly (Pick<Waiting<T>, 'dueMs' | 'data'> & {
    readonly id: string;
    /** As in {@link Waiting}; an older release of moult does not say it. */
    readonly setAtMs?: number;
  })[];
  readonly clear?: readonly string[];
}

/** The longest time-out that Node takes. */
const LONGEST_MS = 2 ** 31 - 1;
/** How many go in one part. */
const PART_TIMERS = 500;

/** Runs timers: all that wait are known to both generations of a handover, and one has armed them. */
export class TimersRunner<T> implements Runner, Timers<T> {
  readonly name: string;
  readonly overlaps = false;
  readonly isOfSlot = true;
  readonly endWithinMs = undefined;
  readonly piece: TimersEntry<T>;
  readonly #run: (id: string, data: T, context: TimerContext) => unknown;
  readonly #running: Running;
  #waiting = new StateMap<string, Waiting<T>>();
  #armed = new Map<string, NodeJS.Timeout>();
  /** Those whose time has come, and that what has come from the other generation may still clear. */
  #due = new Map<string, NodeJS.Immediate>();
  #isHere = false;
  /** Whether what is changed here is newer than what comes from elsewhere. */
  #isOwn = true;
  #passOn: ((given: unknown) => void) | undefined;
  #epoch = 0;

  constructor(name: string, run: (id: string, data: T, context: TimerContext) => unknown) {
    this.name = name;
    this.#run = run;
    this.#running = new Running(`timer of ${name}`);
    this.piece = new TimersEntry(name, this.#waiting, (id) => this.#arm(id));
  }

  get size(): number {
    return this.#isHere || this.#isOwn ? this.#waiting.size : 0;
  }

  get passOn(): ((given: unknown) => void) | undefined {
    return this.#passOn;
  }

  set passOn(passOn) {
    if (passOn === undefined && this.#passOn !== undefined) this.#isOwn = true;
    this.#passOn = passOn;
  }

  set(id: string, due: number | Date, data: T): void {
    // Another generation may have it next: who sets what cannot go there is to hear of it.
    if (!this.#isHere) structuredClone(data);
    const dueMs = typeof due === 'number' ? Date.now() + due : due.getTime();
    this.#waiting.set(id, { dueMs, data, setAtMs: monotonicMs() });
    if (this.#isOwn) this.piece.noteOwn(id);
    this.passOn?.({ set: [{ id, dueMs, data, setAtMs: monotonicMs() }] } satisfies Passed<T>);
    this.#arm(id);
  }

  clear(id: string): boolean {
    const nowMs = monotonicMs();
    this.piece.isGone(id, nowMs, nowMs);
    const wasHere = this.#waiting.delete(id);
    // The other generation may know it.
    if (!wasHere) this.#waiting.touch(id);
    if (this.#isOwn) this.piece.noteOwn(id);
    this.passOn?.({ clear: [id] } satisfies Passed<T>);
    this.#arm(id);
    return wasHere;
  }

  prepare(): void {}

  begin(epoch: number, given: unknown): void {
    this.#epoch = epoch;
    const { set } = (given ?? {}) as Passed<T>;
    if (set !== undefined) this.#takeAll(set);
    this.#isHere = true;
    this.#isOwn = false;
    this.piece.begun();
    for (const id of this.#waiting.keys()) this.#arm(id);
  }

  receive(given: unknown): void {
    const { set = [], clear = [] } = given as Passed<T>;
    for (const id of clear) this.#waiting.delete(id);
    for (const { id, dueMs, data, setAtMs = 0 } of set) {
      // Another slot may have had one of the same id: of the two the one that was set last stays.
      if (setAtMs < (this.#waiting.get(id)?.setAtMs ?? 0)) continue;
      this.#waiting.set(id, { dueMs, data, setAtMs });
    }
    for (const id of [...clear, ...set.map(({ id }) => id)]) this.#arm(id);
  }

  end(): void {
    this.#isHere = false;
    for (const timer of this.#armed.values()) clearTimeout(timer);
    for (const one of this.#due.values()) clearImmediate(one);
    this.#armed.clear();
    this.#due.clear();
  }

  *parts(): Iterable<Passed<T>> {
    const all = [...this.#waiting].map(([id, one]) => ({ id, ...one }));
    for (let at = 0; at === 0 || at < all.length; at += PART_TIMERS)
      yield { set: all.slice(at, at + PART_TIMERS) };
  }

  finish(departure: TaskDeparture): Promise<void> {
    return this.#running.over(departure);
  }

  close(): void {}

  // What it has is all there is, but for what was changed here meanwhile.
  #takeAll(set: NonNullable<Passed<T>['set']>): void {
    const ids = new Set(set.map(({ id }) => id));
    const { own } = this.piece;
    for (const id of [...this.#waiting.keys()]) if (!ids.has(id) && !own.has(id)) this.#waiting.delete(id);
    for (const { id, dueMs, data } of set)
      if (!own.has(id)) this.#waiting.set(id, { dueMs, data, setAtMs: 0 });
  }

  // Or disarms it, where it waits no more.
  #arm(id: string): void {
    clearTimeout(this.#armed.get(id));
    clearImmediate(this.#due.get(id));
    this.#armed.delete(id);
    this.#due.delete(id);
    const one = this.#waiting.get(id);
    if (!this.#isHere || one === undefined) return;
    const waitMs = Math.min(Math.max(0, one.dueMs - Date.now()), LONGEST_MS);
    const timer = setTimeout(() => {
      if (Date.now() < one.dueMs) this.#arm(id);
      // Where this process was busy, a request in the other one may have cleared it in time: what has come is read first.
      else
        this.#due.set(
          id,
          setImmediate(() => this.#fire(id, one)),
        );
    }, waitMs);
    this.#armed.set(id, timer);
  }

  #fire(id: string, { data, dueMs, setAtMs }: Waiting<T>): void {
    this.#armed.delete(id);
    this.#due.delete(id);
    const epoch = this.#epoch;
    // It begins before the other generation hears that it is gone: if this process is killed in between, it runs once more
    // there, and not nowhere.
    this.#running.run((signal) => this.#run(id, data, { at: new Date(dueMs), signal, epoch }));
    // One that is set anew elsewhere at this moment is another one.
    this.piece.isGone(id, setAtMs, monotonicMs());
    this.#waiting.delete(id);
  }
}
