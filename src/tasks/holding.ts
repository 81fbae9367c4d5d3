/**
 * Whom a holding comes from.
 * - `nobody`: this generation is the first to have it, or whoever had it before was killed
 * - `former`: the former owner has given it
 * - `again`: it was given away to one that was killed, and what comes along is of then
 */
export type Origin = 'nobody' | 'former' | 'again';

/** Something that one generation of a service has at a time: a task, a schedule, a consumer. */
export interface Holding {
  readonly name: string;
  /** Whether the next owner begins before the former one ends; else after it. */
  readonly overlaps: boolean;
  /** Milliseconds that it may take to end; undefined for as long as connections may be drained. */
  readonly endWithinMs: number | undefined;
  /** Makes sure that it can begin. @throws what keeps this generation from being ready. */
  prepare(): unknown;
  /** Begins here. @param given what it ended with where it was. @throws what keeps it from beginning. */
  begin(epoch: number, given: unknown, origin: Origin): unknown;
  /** Takes what came up at the former owner after it had given the rest. */
  receive(given: unknown): void;
  /**
   * Ends here, so that it can begin elsewhere.
   * @param signal aborts when its time is over.
   * @returns what goes along; structured-cloneable.
   */
  end(signal: AbortSignal, withinMs: number): unknown;
  /** What still runs here after the end, and keeps nobody else from beginning. @param signal aborts when its time is over. */
  finish(signal: AbortSignal): unknown;
  /** Passes on what comes up after the end; set by whoever gives it. */
  passOn: ((given: unknown) => void) | undefined;
  /** Closes what was opened; the last call. */
  close(): unknown;
}
