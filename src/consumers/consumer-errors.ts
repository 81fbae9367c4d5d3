/**
 * Learns of what goes wrong while a consumer runs and nobody waits for: a handler that threw, a connection that was
 * lost, a call to the message service that failed.
 * @param message whose handler threw; undefined for everything else.
 */
export type OnError<Message> = (error: Error, message?: Message) => void;

/** The same warning comes again after this time only: one that always fails does not fill the log. */
const SAME_AGAIN_MS = 60_000;
const MOST_REMEMBERED = 100;

/** Where one consumer tells its errors. */
export class ConsumerErrors<Message> {
  readonly #name: string;
  readonly #onError: OnError<Message> | undefined;
  readonly #warnedAt = new Map<string, number>();

  /**
   * @param name of the consumer, as it begins a warning.
   * @param onError of the service; without it each error is a warning of the process, the same text once a minute.
   */
  constructor(name: string, onError: OnError<Message> | undefined) {
    this.#name = name;
    this.#onError = onError;
  }

  /** Tells one error, in a turn of its own: what the service throws there does not disturb the consumer. */
  tell(cause: unknown, message?: Message): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    if (this.#onError !== undefined) queueMicrotask(() => this.#onError?.(error, message));
    else this.#warn(`${this.#name}: ${error.message}`);
  }

  #warn(text: string): void {
    const now = performance.now();
    if (now - (this.#warnedAt.get(text) ?? Number.NEGATIVE_INFINITY) < SAME_AGAIN_MS) return;
    if (this.#warnedAt.size === MOST_REMEMBERED) this.#warnedAt.clear();
    this.#warnedAt.set(text, now);
    process.emitWarning(text, 'MoultWarning');
  }
}
