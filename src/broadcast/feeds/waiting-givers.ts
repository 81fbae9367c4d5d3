/**
 * For so many tenths of a second in which this process runs, a generation is told to wait whose clients cannot be placed:
 * then the broker does not answer, or what they lack is gone.
 */
const MAX_WAIT_TICKS = 100;
/** One that has not asked for so long begins anew. */
const MAX_SILENT_TICKS = 30;
const TICK_MS = 100;

interface Wait {
  ticks: number;
  silent: number;
  place: string;
}

/** How long each of the others has waited that have clients to give. */
export class WaitingGivers {
  readonly #waits = new Map<object, Wait>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * Its clients cannot be placed.
   * @param place how far it is: one that gets further may yet come to where they can be.
   * @returns whether it has waited for as long as one has to.
   */
  isOver(giver: object, place: string): boolean {
    const wait = this.#waits.get(giver);
    if (wait === undefined || wait.place !== place) {
      this.#waits.set(giver, { ticks: 0, silent: 0, place });
      this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref();
      return false;
    }
    wait.silent = 0;
    return wait.ticks > MAX_WAIT_TICKS;
  }

  /** Its clients can be placed. */
  ends(giver: object): void {
    this.#waits.delete(giver);
    if (this.#waits.size === 0) this.close();
  }

  /** Nobody waits any more. */
  close(): void {
    this.#waits.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  // Only time in which this process runs counts: one that was stopped has first to read what came meanwhile.
  #tick(): void {
    for (const [giver, wait] of this.#waits) {
      wait.ticks += 1;
      wait.silent += 1;
      if (wait.silent > MAX_SILENT_TICKS) this.ends(giver);
    }
  }
}
