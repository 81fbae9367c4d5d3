import { randomUUID } from 'node:crypto';
import type { Holding } from './holding.js';
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

interface Begun<T> {
  readonly id: string;
  readonly data: T;
  readonly saved: unknown;
}

/** Jobs as a holding. Each is begun on its own: the next generation need not wait for the last one's. */
export class JobsHolding<T> implements Holding, Jobs<T> {
  readonly name: string;
  readonly overlaps = true;
  readonly endWithinMs = undefined;
  passOn: ((given: unknown) => void) | undefined;
  readonly #run: (job: Job<T>) => unknown;
  readonly #moves: boolean;
  readonly #running: Running;
  #begun = new Map<string, Begun<T>>();
  #epoch = 0;

  constructor(name: string, run: (job: Job<T>) => unknown, options: JobsOptions) {
    this.name = name;
    this.#run = run;
    this.#moves = options.changeover === 'move';
    this.#running = new Running(`job of ${name}`);
  }

  get size(): number {
    return this.#running.size;
  }

  start(data: T): string {
    const one = { id: randomUUID(), data, saved: undefined };
    if (this.passOn === undefined) this.#do(one);
    else this.passOn([one]);
    return one.id;
  }

  prepare(): void {}

  begin(epoch: number, given: unknown): void {
    this.#epoch = epoch;
    this.receive(given);
  }

  receive(given: unknown): void {
    for (const one of (given ?? []) as Begun<T>[]) this.#do(one);
  }

  async end(limit: AbortSignal): Promise<Begun<T>[]> {
    if (!this.#moves) return [];
    const all = [...this.#begun.values()];
    this.#running.abort();
    await this.#running.over(limit);
    // Those that came to their end are no longer among them.
    const left = all.flatMap(({ id }) => this.#begun.get(id) ?? []);
    for (const { id } of left) this.#begun.delete(id);
    return left;
  }

  finish(limit: AbortSignal): Promise<void> {
    return this.#running.over(limit);
  }

  close(): void {}

  #do(one: Begun<T>): void {
    this.#begun.set(one.id, one);
    const epoch = this.#epoch;
    this.#running.run(async (signal) => {
      const save = (saved: unknown) => this.#begun.set(one.id, { ...one, saved: structuredClone(saved) });
      try {
        await this.#run({ ...one, signal, epoch, save });
      } catch (error) {
        if (this.#moves && signal.aborted && error === signal.reason) throw error;
        this.#begun.delete(one.id);
        throw error;
      }
      this.#begun.delete(one.id);
    });
  }
}
