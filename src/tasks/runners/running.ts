import type { TaskDeparture } from './runner.js';

/** Work that runs, and that can be told to stop. */
export class Running {
  readonly #what: string;
  #abort = new AbortController();
  #all = new Set<Promise<void>>();

  /** @param what is named in what is told of a failure. */
  constructor(what: string) {
    this.#what = what;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Runs work. What it throws is told as a warning. @returns when it is over; whether it came to its end. */
  run(work: (signal: AbortSignal) => unknown): Promise<boolean> {
    const { signal } = this.#abort;
    const result = Promise.resolve()
      .then(() => work(signal))
      .then(
        () => true,
        (error) => {
          if (!signal.aborted || error !== signal.reason) this.#tell(error);
          return false;
        },
      );
    const over = result.then(() => {
      this.#all.delete(over);
    });
    this.#all.add(over);
    return result;
  }

  /** Tells all that runs to stop; what is run later is not told. */
  abort(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  /** Waits until nothing runs, or all stays after all. What still runs when the time is over is told to stop. */
  async over({ limit, calledOff }: Pick<TaskDeparture, 'limit' | 'calledOff'>): Promise<void> {
    const stop = () => this.abort();
    if (limit.aborted) stop();
    limit.addEventListener('abort', stop, { once: true });
    const stays = new Promise<void>((resolve) => {
      calledOff.addEventListener('abort', () => resolve(), { once: true });
    });
    while (this.#all.size > 0 && !calledOff.aborted) await Promise.race([Promise.all(this.#all), stays]);
    limit.removeEventListener('abort', stop);
  }

  #tell(error: unknown): void {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.emitWarning(`${this.#what} failed: ${what}`, 'MoultWarning');
  }
}
