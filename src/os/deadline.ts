/**
 * A time limit that another process should keep. What that process had sent by then is read before the limit
 * strikes: a loop that stood still, or a process that was stopped for a while, must not blame the other for it.
 * Source: Node's event loop runs timers before it reads, and immediates after.
 */
export class Deadline {
  #timer: NodeJS.Timeout;
  #isOver = false;

  constructor(ms: number, strike: () => void) {
    this.#timer = setTimeout(() => {
      setImmediate(() => {
        if (!this.#isOver) strike();
      });
    }, ms);
  }

  /** It strikes no more. */
  clear(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** Lets the process end although the limit has not come. */
  unref(): this {
    this.#timer.unref();
    return this;
  }
}
