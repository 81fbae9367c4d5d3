/** With what a consumer begins. */
export interface ConsumerStart {
  /** A number that grows with every change of owner: a late write of a former owner can be told by its lower one. */
  readonly epoch: number;
  /** What the former owner's `stop` returned; undefined at the first start, or when the former owner was killed. */
  readonly saved: unknown;
  /** How it changes hands: in overlap, its former owner may still have work in hand. */
  readonly changeover: 'exclusive' | 'overlap';
}

/** By when a consumer must have stopped. */
export interface ConsumerStop {
  /** Aborts at the deadline: what is in hand is to be given back now. */
  readonly signal: AbortSignal;
  /** Milliseconds until then. */
  readonly withinMs: number;
  /** How it changes hands: in overlap, its next owner has begun already. */
  readonly changeover: 'exclusive' | 'overlap';
}

/** What pulls work from somewhere else: a queue, a topic, a stream. One object lives as long as its generation. */
export interface Consumer {
  /**
   * Connects, and makes sure that consuming can begin; takes no work yet. Called before the service is ready: what
   * it throws keeps this generation from taking over.
   */
  prepare?(): unknown;
  /**
   * Begins to take work: when this generation owns it, for the first time or again because its successor failed.
   * @throws whatever keeps it from consuming: within probation the handover is undone, and the predecessor starts again.
   */
  start(start: ConsumerStart): unknown;
  /**
   * Takes no new work, and finishes what is in hand or gives it back to where it came from. Nothing of this consumer
   * is in hand when it returns. May be followed by `start` again.
   * @returns what the successor's `start` gets as `saved`; structured-cloneable; undefined for nothing.
   */
  stop(stop: ConsumerStop): unknown;
  /**
   * Closes what was opened. The last call: after `stop` when this generation ends, or without `start` when the
   * handover to it was called off.
   */
  close?(): unknown;
}

/** How a consumer changes hands. */
export interface ConsumerOptions {
  /**
   * - `exclusive`: the successor starts after the predecessor has stopped; order and single ownership hold.
   * - `overlap`: the successor starts first, then the predecessor stops: throughput never drops.
   *
   * Default `exclusive`.
   */
  readonly changeover?: 'exclusive' | 'overlap';
  /** Milliseconds that `stop` may take before its signal aborts; default 10,000. */
  readonly stopWithinMs?: number;
}
