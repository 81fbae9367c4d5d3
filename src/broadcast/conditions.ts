/** What is waited for, each until a look finds that it has come. */
export class Conditions {
  /** Each says whether what it waits for has come; then it is done. */
  readonly #waits = new Set<() => boolean>();

  /** Settles at the first look at which this holds: at once, where it does. */
  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waits.add(() => {
        const isDone = holds();
        if (isDone) resolve();
        return isDone;
      });
    });
  }

  /** Something has changed. */
  look(): void {
    for (const wait of this.#waits) if (wait()) this.#waits.delete(wait);
  }
}
