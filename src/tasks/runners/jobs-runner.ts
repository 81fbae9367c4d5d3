import { randomUUID } from 'node:crypto';
import { StateMap } from '../../state/state-map.js';
import { type Begun, JobsEntry } from './jobs-entry.js';
import type { Departure, Runner } from './runner.js';
import { Running } from './running.js';

/** One job, as it runs. */
export interface Job<T> {
  /** As `start` gave it; the same wherever the job goes. */
  readonly id: string;
  /** What it was started with. */
  readonly data: T;
  /** What it saved last where it ran before; undefined at its first start. */
  readonly saved: unknown;
  /** Aborts when it is to go on elsewhere, or its time is over. One that throws the signal's reason then goes on elsewhere; one that returns is done. */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner: what a former owner still writes can be told by its lower one. */
  readonly epoch: number;
  /** Notes how far it has come, from where it can go on; structured-cloneable. */
  save(value: unknown): void;
}

/** How jobs change hands. */
export interface JobsOptions {
  /**
   * - `finish`: each is finished where it began. Its signal aborts only when the time for that, the drain time-out, is over.
   * - `move`: its signal aborts, and it goes on in the successor from what it saved last.
   *
   * Default `finish`.
   */
  readonly changeover?: 'finish' | 'move';
}

/** Jobs that a service starts, each of which is to be done once. They are in memory: they end with the last generation. */
export interface Jobs<T> {
  /**
   * Starts one; in the successor, where this generation has handed over.
   * @param data structured-cloneable: it may be another generation that does it.
   * @returns its id.
   */
  start(data: T): string;
  /** How many run in this generation. */
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

/** Jobs as a holding: all that are not done are known to both generations of a handover, each runs in one. */
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

  end({ goesOn }: Departure): void {
    if (!goesOn) return;
    this.#isHere = false;
    if (this.#moves) this.#running.abort();
  }

  // Each goes on as soon as it has come to rest: what is late in noticing holds up no other.
  *parts(): Iterable<Passed<T>[]> {
    yield [];
  }

  async finish(departure: Departure): Promise<void> {
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

  // What the other one had it may have done: only what comes up from now on.
  stay(): void {
    this.#isHere = true;
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
        if (signal.aborted && error === signal.reason) {
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
        `${this.#running.size} jobs of ${this.name} had not come to their end when the time for it was over`,
        'MoultWarning',
      );
  }
}
