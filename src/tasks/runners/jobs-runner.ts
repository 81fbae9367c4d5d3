import { randomUUID } from 'node:crypto';
import { StateMap } from '../../state/state-map.js';
import { type Begun, JobsEntry } from './jobs-entry.js';
import type { Runner, TaskDeparture } from './runner.js';
import { isStopped, Running } from './running.js';

/** A running job. */
export interface Job<T> {
  /** The id returned by `start`; it stays the same in every generation. */
  readonly id: string;
  /** The data with which it was started. */
  readonly data: T;
  /** What it last saved in an earlier generation; undefined at its first start. */
  readonly saved: unknown;
  /**
   * Aborts when the job should continue in another generation, or its time is over. If the job then throws
   * the signal's reason, or an `AbortError` as functions do that take a signal, it continues there; if it
   * returns, it is done; if it throws anything else, it has failed.
   */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner. A late write of a former owner has a lower one. */
  readonly epoch: number;
  /** Saves the progress from which the job can continue; structured-cloneable. */
  save(value: unknown): void;
}

/** Options of jobs. */
export interface JobsOptions {
  /**
   * - `finish`: each job finishes where it started. Its signal aborts only after the drain time-out.
   * - `move`: its signal aborts, and it continues in the successor from what it last saved.
   *
   * Default `finish`.
   */
  readonly changeover?: 'finish' | 'move';
}

/** Jobs that must each be done once. They are in memory and end with the last generation. */
export interface Jobs<T> {
  /**
   * Starts a job; it runs in the successor if this generation has handed over.
   * @param data structured-cloneable, because another generation may run it.
   * @returns its id.
   */
  start(data: T): string;
  /** The number of jobs running in this generation. */
  readonly size: number;
}

/** As it goes to, and comes from, a generation that does not know the piece. */
interface Passed<T> {
  readonly id: string;
  readonly data: T;
  readonly saved: unknown;
}

/** One that was passed on to a generation that does not know the piece. */
const PASSED_ON = { pid: 0 };

/** Runs jobs: all that are not done are known to both generations of a handover, each runs in one. */
export class JobsRunner<T> implements Runner, Jobs<T> {
  readonly name: string;
  readonly overlaps = true;
  readonly endWithinMs = undefined;
  readonly piece: JobsEntry<T>;
  readonly #run: (job: Job<T>) => unknown;
  readonly #moves: boolean;
  readonly #running: Running;
  #begun = new StateMap<string, Begun<T>>();
  #hasBegun = false;
  /** Whether those that nobody runs are begun here. */
  #isHere = true;
  #passOn: ((given: unknown) => void) | undefined;
  #epoch = 0;

  constructor(name: string, run: (job: Job<T>) => unknown, options: JobsOptions) {
    this.name = name;
    this.#run = run;
    this.#moves = options.changeover === 'move';
    this.#running = new Running(`job of ${name}`);
    this.piece = new JobsEntry(name, this.#begun, (id) => {
      if (this.#hasBegun) this.#next(id);
    });
  }

  get size(): number {
    return this.#running.size;
  }

  get passOn(): ((given: unknown) => void) | undefined {
    return this.#passOn;
  }

  set passOn(passOn) {
    this.#passOn = passOn;
    if (passOn !== undefined) for (const id of [...this.#begun.keys()]) this.#next(id);
  }

  start(data: T): string {
    // Another generation does it: who starts what cannot go there is to hear of it.
    if (!this.#isHere) structuredClone(data);
    const id = randomUUID();
    this.#begun.set(id, { data, saved: undefined, runner: 'nobody' });
    if (!this.#hasBegun) this.piece.noteOwn(id);
    this.#next(id);
    return id;
  }

  prepare(): void {}

  begin(epoch: number, given: unknown): void {
    this.#epoch = epoch;
    this.#hasBegun = true;
    this.#isHere = true;
    this.piece.begun();
    if (given !== undefined) this.receive(given);
    for (const id of [...this.#begun.keys()]) this.#next(id);
  }

  receive(given: unknown): void {
    for (const { id, data, saved } of given as Passed<T>[]) {
      this.#begun.set(id, { data, saved, runner: 'nobody' });
      this.#next(id);
    }
    // The first that comes back is all that was not done there.
    for (const [id, { runner }] of [...this.#begun]) if (runner === PASSED_ON) this.#begun.delete(id);
  }

  end({ goesOn }: TaskDeparture): void {
    if (!goesOn) return;
    this.#isHere = false;
    if (this.#moves) this.#running.abort();
  }

  // Each goes on as soon as it has come to rest: what is late in noticing holds up no other.
  *parts(): Iterable<Passed<T>[]> {
    yield [];
  }

  async finish(departure: TaskDeparture): Promise<void> {
    const { goesOn, limit } = departure;
    if (!goesOn) limit.addEventListener('abort', () => this.#giveUp(), { once: true });
    await this.#running.over(departure);
  }

  gone(link: unknown): void {
    for (const [id, { runner, ...one }] of [...this.#begun]) {
      const isElsewhere = typeof runner === 'object' && 'via' in runner && runner.via === link;
      // Whoever lives brings it to its end, and has nobody to tell.
      if (isElsewhere && runner.process?.hasEnded() !== true) this.#begun.delete(id);
      else if (isElsewhere || runner === link || runner === PASSED_ON) {
        this.#begun.set(id, { ...one, runner: 'nobody' });
        this.#next(id);
      }
    }
    this.piece.forgetOthers();
  }

  // What the other one had heard of it may have done: only the rest, and what comes up from now on.
  stay(unread: ReadonlySet<unknown>): void {
    this.#isHere = true;
    for (const id of [...this.#begun.keys()]) if (unread.has(id)) this.#next(id);
  }

  close(): void {}

  /** Has one that nobody runs done: here, or there. */
  #next(id: string): void {
    const one = this.#begun.get(id);
    if (one?.runner !== 'nobody') return;
    if (this.#isHere) this.#do(id, one);
    else if (this.#passOn !== undefined) {
      this.#begun.set(id, { ...one, runner: PASSED_ON });
      this.#passOn([{ id, data: one.data, saved: one.saved }] satisfies Passed<T>[]);
    }
  }

  #do(id: string, { data, saved }: Begun<T>): void {
    const epoch = this.#epoch;
    let isOver = false;
    let last = saved;
    const note = () => this.#begun.set(id, { data, saved: last, runner: 'here' });
    const save = (value: unknown) => {
      if (isOver) return;
      last = structuredClone(value);
      note();
    };
    note();
    this.#running.run(async (signal) => {
      try {
        await this.#run({ id, data, saved, signal, epoch, save });
      } catch (error) {
        isOver = true;
        if (isStopped(signal, error)) {
          this.#begun.set(id, { data, saved: last, runner: 'nobody' });
          this.#next(id);
        } else this.#begun.delete(id);
        throw error;
      }
      isOver = true;
      this.#begun.delete(id);
    });
  }

  // Nobody is there who could go on with them.
  #giveUp(): void {
    this.#isHere = false;
    if (this.#running.size > 0)
      process.emitWarning(
        `${this.#running.size} jobs of ${this.name} had not finished at the deadline`,
        'MoultWarning',
      );
  }
}
