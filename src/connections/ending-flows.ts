/** A flow that has ended in another generation, while datagrams that were sent there may still come back. */
export interface EndingFlow<Held> {
  readonly listener: string;
  readonly key: string;
  /** Nothing comes back once the other side has acknowledged so many messages. */
  readonly after: number;
  /** What came of the flow meanwhile: it comes after what comes back. */
  readonly held: Held[];
  /** Nothing comes back any more, and what was held goes on its way: the flow has ended when all of it has. */
  isOver: boolean;
}

/** The flows that are ending in one other generation. */
export class EndingFlows<Held> {
  readonly #byKey = new Map<string, Map<string, EndingFlow<Held>>>();
  /** In the order in which they end; some may have begun again. */
  #next: EndingFlow<Held>[] = [];

  of(listener: string, key: string): EndingFlow<Held> | undefined {
    return this.#byKey.get(listener)?.get(key);
  }

  /** @param after not less than that of those before. */
  add(listener: string, key: string, after: number): void {
    const ending: EndingFlow<Held> = { listener, key, after, held: [], isOver: false };
    const keys = this.#byKey.get(listener) ?? new Map<string, EndingFlow<Held>>();
    this.#byKey.set(listener, keys.set(key, ending));
    this.#next.push(ending);
  }

  delete({ listener, key }: EndingFlow<Held>): void {
    this.#byKey.get(listener)?.delete(key);
  }

  /** Those of which nothing comes back any more, in order. They are still here, as over. */
  over(acknowledged: number): EndingFlow<Held>[] {
    const waits = this.#next.findIndex(({ after }) => after > acknowledged);
    const passed = this.#next.splice(0, waits === -1 ? this.#next.length : waits);
    const over = passed.filter((ending) => this.of(ending.listener, ending.key) === ending);
    for (const ending of over) ending.isOver = true;
    return over;
  }
}
