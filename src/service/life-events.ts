import type { MoultError } from '../errors.js';
import type { DrainReport } from '../protocol/messages.js';

/** What happens in the life of a generation, in the order in which it may happen; `serve` and `yield` may come again. */
export interface LifeEvents {
  /** It accepts: for the first time, or again because its successor failed. */
  serve: [{ readonly resumed: boolean }];
  /** A successor has taken over. This generation accepts no more, but may have to again. */
  yield: [{ readonly successor: number }];
  /** A successor failed; this generation serves. */
  failed: [MoultError];
  /** It will never accept again, and finishes what it has. */
  drain: [];
  /** Nothing is left to do; its stop signal follows. */
  end: [DrainReport];
  /** It was to take over, and the handover was called off. It is asked to end. */
  aborted: [MoultError];
}
