import type { Runner, TaskDeparture } from './runner.js';
import { Running } from './running.js';

/** The context of a task. */
export interface TaskContext {
  /** Aborts when the task must end here: at a handover, or when the service stops. */
  readonly signal: AbortSignal;
  /** A number that grows with every change of owner. A late write of a former owner has a lower one. */
  readonly epoch: number;
  /**
   * What the task returned in the previous generation after its signal had aborted; undefined at the first
   * start, or if that generation was killed.
   */
  readonly saved: unknown;
}

/** Options of a task. */
export interface TaskOptions {
  /**
   * - `stop`: its signal aborts, and it starts in the successor after it has returned.
   * - `finish`: it finishes in the predecessor. Its signal aborts only after the drain time-out.
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

  async end({ limit, calledOff }: TaskDeparture): Promise<Ended> {
    if (!this.#finishes) this.#running.abort();
    // What was told to stop does: it begins again when it has.
    await this.#running.over({ limit, calledOff: this.#finishes ? calledOff : NEVER });
    return this.#isDone ? { isDone: true } : { isDone: false, saved: this.#saved };
  }

  finish(): void {}

  close(): void {}
}
