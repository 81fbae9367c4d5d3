/** The numbers of generations: each is given once, whichever slot of the service it is for. */
export class GenerationNumbers {
  #last = 0;

  /** The highest that has been given. */
  get last(): number {
    return this.#last;
  }

  /** The next one. */
  take(): number {
    this.#last += 1;
    return this.#last;
  }

  /** One that was taken and is not needed: where none was taken after it, it is the next one again. */
  giveBack(number: number): void {
    if (number === this.#last) this.#last -= 1;
  }

  /** An earlier supervisor has given numbers up to this one. */
  countOn(last: number): void {
    this.#last = Math.max(this.#last, last);
  }
}
