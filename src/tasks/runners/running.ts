import type { TaskDeparture } from './runner.js';

/** How many causes of an error are looked at: one may be its own. */
const MOST_CAUSES = 10;

/**
 * Whether work threw this because it was told to stop. Node's own functions throw an AbortError of theirs, whose cause is the
 * reason, and others may wrap that.
 */
export function isStopped(signal: AbortSignal, thrown: unknown): boolean {
  if (!signal.aborted) return false;
  let error = thrown;
  for (let causes = 0; causes < MOST_CAUSES; causes += 1) {
    if (error === signal.reason) return true;
    if (!(error instanceof Error)) return false;
    if (error.name === 'AbortError') return true;
    error = error.cause;
  }
  return false;
}

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
          if (!isStopped(signal, error)) this.#tell(error);
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
