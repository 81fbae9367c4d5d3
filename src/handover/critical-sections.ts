/** Work of the service during which no successor may take over. */
export class CriticalSections {
  #count = 0;
  #waiting: (() => void)[] = [];

  /** How many run now. */
  get size(): number {
    return this.#count;
  }

  /** Begins one. @returns what ends it; only the first call counts. */
  enter(): () => void {
    this.#count += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#count -= 1;
      if (this.#count > 0) return;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const call of waiting) call();
    };
  }

  /** Calls back once none runs: at once, or when the last one ends. */
  whenNone(callback: () => void): void {
    if (this.#count === 0) callback();
    else this.#waiting.push(callback);
  }
}
