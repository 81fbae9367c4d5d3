import type { StateEntry } from '../../state/state-entry.js';

/**
 * Whom a runner is begun after.
 * - `nobody`: this generation is the first to have it, or whoever had it before was killed
 * - `former`: the former owner has given it
 * - `again`: it was given away to one that was killed, or another slot has had it since; what comes along is of then
 */
export type Origin = 'nobody' | 'former' | 'again';

/** How a runner leaves a generation. */
export interface TaskDeparture {
  /** Aborts when its time is over; never where it stays after all. */
  readonly limit: AbortSignal;
  /** Aborts when it stays after all: the handover was undone. */
  readonly calledOff: AbortSignal;
  /** Milliseconds until its time is over. */
  readonly withinMs: number;
  /** Whether another generation has it next; else it comes to its end here. */
  readonly goesOn: boolean;
}

/** Something that one generation of a service has at a time: a task, a schedule, a consumer. */
export interface Runner {
  readonly name: string;
  /** Whether the next owner begins before the former one ends; else after it. */
  readonly overlaps: boolean;
  /** Whether each slot has one of its own; else one of all slots has it. */
  readonly isOfSlot?: boolean;
  /** Milliseconds that it may take to end; undefined for as long as connections may be drained. */
  readonly endWithinMs: number | undefined;
  /** What it has that the other generation knows at any time, as state; where that has no place for it, `parts` are given. */
  readonly piece?: StateEntry;
  /** Makes sure that it can begin. @throws what keeps this generation from being ready. */
  prepare(): unknown;
  /** Begins here. @param given what it ended with where it was. @throws what keeps it from beginning. */
  begin(epoch: number, given: unknown, origin: Origin): unknown;
  /** Takes what came up at the former owner after it had given the rest. */
  receive(given: unknown): void;
  /** Ends here, so that it can begin elsewhere. @returns what goes along; structured-cloneable. */
  end(departure: TaskDeparture): unknown;
  /** What still runs here after the end, and keeps nobody else from beginning. */
  finish(departure: TaskDeparture): unknown;
  /** What there is in its piece, in parts of any number, for one that does not know the piece. */
  parts?(): Iterable<unknown>;
  /** Passes on what comes up after the end to one that does not know the piece; undefined from when nobody takes it any more. */
  passOn?: ((given: unknown) => void) | undefined;
  /** The generation at the other side of this piece's link is gone: what it had is had by nobody. */
  gone?(link: unknown): void;
  /**
   * Nobody is left who could have it next: what comes up after the end comes to its end here.
   * @param unread the keys of its piece that nobody has heard of.
   */
  stay?(unread: ReadonlySet<unknown>): void;
  /** Closes what was opened; the last call. */
  close(): unknown;
}
