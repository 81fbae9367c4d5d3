/** Messages that are dealt with in the order in which they came: what is sent while one is dealt with comes after it, for every client. */
export class DeliveryQueue<T> {
  readonly #deliver: (message: T) => void;
  readonly #waiting: T[] = [];
  #isDelivering = false;

  constructor(deliver: (message: T) => void) {
    this.#deliver = deliver;
  }

  /** @returns whether all has been dealt with; not so while one is. */
  add(message: T): boolean {
    this.#waiting.push(message);
    if (this.#isDelivering) return false;
    this.#isDelivering = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        this.#deliver(next);
      }
    } finally {
      this.#isDelivering = false;
    }
    return true;
  }
}
