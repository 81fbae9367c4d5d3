import type { ListenerRegistry } from '../../listeners/registry.js';

/**
 * Listeners that a generation serves without, and that are held for it: its service may still come to listen on them,
 * and their clients wait. What it has not claimed in time is closed for good.
 */
export class UnclaimedListeners {
  readonly #listeners: ListenerRegistry;
  readonly #closed: (name: string) => void;
  readonly #names: Set<string>;
  readonly #timer: NodeJS.Timeout;
  #isInTime = true;
  #isConfirmed: boolean;

  /**
   * @param names of those that are held.
   * @param inMs how long at least.
   * @param isConfirmed whether no predecessor could come to serve on them again.
   * @param closed is told of each that is closed for good.
   */
  constructor(
    listeners: ListenerRegistry,
    names: readonly string[],
    inMs: number,
    isConfirmed: boolean,
    closed: (name: string) => void,
  ) {
    this.#listeners = listeners;
    this.#closed = closed;
    this.#names = new Set(names);
    this.#isConfirmed = isConfirmed;
    this.#timer = setTimeout(() => {
      this.#isInTime = false;
      this.#closeIfOver();
    }, inMs).unref();
  }

  /** Those on which the service has not come to listen so far. */
  get names(): string[] {
    return [...this.#names].filter((name) => this.#listeners.inherited.has(name));
  }

  /** Whether one is held, or was. */
  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** There is no way back to the predecessor. */
  confirm(): void {
    this.#isConfirmed = true;
    this.#closeIfOver();
  }

  /** Closes none: who serves now, or will, decides. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#names.clear();
  }

  #closeIfOver(): void {
    if (this.#isInTime || !this.#isConfirmed) return;
    for (const name of this.#names)
      if (this.#listeners.inherited.closeForGood(name, this.#listeners.links)) this.#closed(name);
    this.#names.clear();
  }
}
