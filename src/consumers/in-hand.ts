/** What one consumer has taken and not settled: some of it is being worked on, the rest waits, in the order in which it came. */
export class InHand<T> {
  readonly #concurrency: number;
  readonly #work: (item: T, signal: AbortSignal) => Promise<void>;
  readonly #given = new AbortController();
  #waiting: T[] = [];
  #running = new Set<T>();
  #isHeld = false;
  #waker = waker();

  /**
   * @param concurrency how many are worked on at once.
   * @param work must not reject. When its signal has aborted, the item is in hand no more, whatever becomes of it.
   */
  constructor(concurrency: number, work: (item: T, signal: AbortSignal) => Promise<void>) {
    this.#concurrency = concurrency;
    this.#work = work;
  }

  /** How many wait to be worked on. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** How many are in hand. */
  get size(): number {
    return this.#waiting.length + this.#running.size;
  }

  /** All that is in hand, the oldest first. */
  get all(): readonly T[] {
    return [...this.#running, ...this.#waiting];
  }

  /** Takes one more. */
  take(item: T): void {
    this.#waiting.push(item);
    this.#begin();
  }

  /** Begins no more: what waits is to be given back. */
  hold(): void {
    this.#isHeld = true;
    this.wake();
  }

  /** What was waiting, which is in hand no more. */
  giveWaiting(): T[] {
    return this.#waiting.splice(0);
  }

  /** Asks all that are being worked on to give up. They stay in hand until they have. */
  abort(reason: Error): void {
    this.#given.abort(reason);
  }

  /** Gives up what is being worked on. @returns it; it is in hand no more. */
  giveRunning(reason: Error): T[] {
    this.abort(reason);
    const given = [...this.#running];
    this.#running.clear();
    this.wake();
    return given;
  }

  /** Gives up everything. @returns it, the oldest first. */
  giveAll(reason: Error): T[] {
    return [...this.giveRunning(reason), ...this.giveWaiting()];
  }

  /** When one has begun or ended. */
  get changed(): Promise<void> {
    return this.#waker.woken;
  }

  /** Waits until none is being worked on, and none waits that would be; or until the signal aborts. */
  async settled(signal: AbortSignal): Promise<void> {
    const { woken: aborted, wake } = waker();
    signal.addEventListener('abort', wake, { once: true });
    while (!signal.aborted && (this.#running.size > 0 || (!this.#isHeld && this.#waiting.length > 0))) {
      await Promise.race([this.changed, aborted]);
    }
    signal.removeEventListener('abort', wake);
  }

  #begin(): void {
    while (!this.#isHeld && this.#running.size < this.#concurrency) {
      const item = this.#waiting.shift();
      if (item === undefined) return;
      this.#running.add(item);
      this.#work(item, this.#given.signal).then(() => {
        this.#running.delete(item);
        this.#begin();
        this.wake();
      });
    }
  }

  /** Has those look again who wait for a change. */
  wake(): void {
    const { wake } = this.#waker;
    this.#waker = waker();
    wake();
  }
}

interface Waker {
  readonly woken: Promise<void>;
  wake(): void;
}

function waker(): Waker {
  let wake = () => {};
  const woken = new Promise<void>((resolve) => {
    wake = () => resolve();
  });
  return { woken, wake };
}
