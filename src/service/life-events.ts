import type { MoultError } from '../errors.js';

/** What became of a generation's connections. */
export interface EndReport {
  /** How many went over to the successor. */
  readonly moved: number;
  /** How many were finished here: closed after their last response. */
  readonly drained: number;
  /** Those that were closed at the deadline although they were not at rest, the first 1,000. */
  readonly cut: readonly {
    /** Who was at the other end. */
    readonly peer: string;
    /** Milliseconds for which it was open here. */
    readonly ageMs: number;
    /** Why it could not move. */
    readonly reason: string;
  }[];
}

/** What happens in the life of a generation, in the order in which it may happen; `serve` and `yield` may come again. */
export interface LifeEvents {
  /** It accepts: for the first time, or again because its successor failed. */
  serve: [
    {
      /** Whether it had served before, and has to again. */
      readonly resumed: boolean;
    },
  ];
  /** A successor has taken over. This generation accepts no more, but may have to again. */
  yield: [
    {
      /** The number of the generation that accepts now. */
      readonly successor: number;
    },
  ];
  /** A successor failed; this generation serves. */
  failed: [MoultError];
  /** It will never accept again, and finishes what it has. */
  drain: [];
  /** Nothing is left to do; its stop signal follows. */
  end: [EndReport];
  /** It was to take over, and the handover was called off. It is asked to end. */
  aborted: [MoultError];
}
