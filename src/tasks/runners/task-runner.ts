import type { Departure, Runner } from './runner.js';
import { Running } from './running.js';

/** With what a task runs. */
export interface TaskContext {
  /** Aborts when it is to end here: at a handover, or at the end of the service. */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner: what a former owner still writes can be told by its lower one. */
  readonly epoch: number;
  /** What the task returned where it ran before, once its signal had aborted; undefined at the first start, or when its owner was killed. */
  readonly saved: unknown;
}

/** How a task changes hands. */
export interface TaskOptions {
  /**
   * - `stop`: its signal aborts, and it runs again in the successor once it has returned.
   * - `finish`: it goes on in the predecessor to its end. Its signal aborts only when the time for that, the drain time-out, is over.
   *
   * Default `stop`.
   */
  readonly changeover?: 'stop' | 'finish';
}

interface Ended {
  readonly isDone: boolean;
  readonly saved?: unknown;
}

const NEVER = new AbortController().signal;

/** A task: a function that runs in one generation at a time. */
export class TaskRunner implements Runner {
  readonly name: string;
  readonly overlaps = false;
  readonly endWithinMs = undefined;
  readonly #run: (context: TaskContext) => unknown;
  readonly #finishes: boolean;
  readonly #running: Running;
  #isDone = false;
  #saved: unknown;

  constructor(name: string, run: (context: TaskContext) => unknown, options: TaskOptions) {
    this.name = name;
    this.#run = run;
    this.#finishes = options.changeover === 'finish';
    this.#running = new Running(`task ${name}`);
  }

  prepare(): void {}

  begin(epoch: number, given: unknown): void {
    // It was to be finished here, and was never anywhere else.
    if (this.#running.size > 0) return;
    const { isDone, saved } = (given ?? { isDone: false }) as Ended;
    this.#isDone = isDone;
    this.#saved = saved;
    if (isDone) return;
    this.#running.run(async (signal) => {
      this.#saved = await this.#run({ signal, epoch, saved });
      this.#isDone = !signal.aborted;
    });
  }

  receive(): void {}

  async end({ limit, calledOff }: Departure): Promise<Ended> {
    if (!this.#finishes) this.#running.abort();
    // What was told to stop does: it begins again when it has.
    await this.#running.over({ limit, calledOff: this.#finishes ? calledOff : NEVER });
    return this.#isDone ? { isDone: true } : { isDone: false, saved: this.#saved };
  }

  finish(): void {}

  close(): void {}
}
