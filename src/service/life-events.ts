import type { MoultError } from '../errors.js';

/** What happened to the connections of a generation. */
export interface EndReport {
  /** How many moved to the successor. */
  readonly moved: number;
  /** How many finished here: closed after their last response. */
  readonly drained: number;
  /** Connections that were closed at the deadline although they were not at rest; the first 1,000. */
  readonly cut: readonly {
    /** The address of the client. */
    readonly peer: string;
    /** How many milliseconds it was open here. */
    readonly ageMs: number;
    /** Why it could not move. */
    readonly reason: string;
  }[];
}

/** The events of a generation, in the order in which they may occur; `serve` and `yield` may occur again. */
export interface LifeEvents {
  /** This generation accepts: for the first time, or again because its successor failed. */
  serve: [
    {
      /** Whether it has served before and serves again. */
      readonly resumed: boolean;
    },
  ];
  /** A successor has taken over. This generation no longer accepts, but may have to again. */
  yield: [
    {
      /** The number of the generation that accepts now. */
      readonly successor: number;
    },
  ];
  /** A stop was requested (`--stop-delay`): the service keeps accepting and serving for this time, so that a balancer sees its readiness change; then `drain` follows. */
  stopping: [
    {
      /** Milliseconds until it drains; less where the stop is asked for once more. */
      readonly delayMs: number;
    },
  ];
  /** A successor failed; this generation serves. */
  failed: [MoultError];
  /** This generation will never accept again, and finishes its connections. */
  drain: [];
  /** This generation has drained; its stop signal follows. */
  end: [EndReport];
  /** The handover to this generation was canceled. It is asked to exit. */
  aborted: [MoultError];
}
