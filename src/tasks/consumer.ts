/** The context in which a consumer starts. */
export interface ConsumerStart {
  /** A number that grows with every change of owner. A late write of a former owner has a lower one. */
  readonly epoch: number;
  /**
   * The return value of the former owner's `stop`; undefined at the first start, or if the former owner was
   * killed.
   */
  readonly saved: unknown;
  /** The changeover; with `overlap`, the former owner may still have work in progress. */
  readonly changeover: 'exclusive' | 'overlap';
}

/** The deadline of a consumer's `stop`. */
export interface ConsumerStop {
  /** Aborts at the deadline: return work in progress now. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline. */
  readonly withinMs: number;
  /** The changeover; with `overlap`, the next owner has already started. */
  readonly changeover: 'exclusive' | 'overlap';
}

/** Pulls work from a queue, topic or stream. There is one object per generation. */
export interface Consumer {
  /**
   * Connects, and makes sure that consuming can start, but takes no work yet. moult calls it before the
   * service is ready; if it throws, this generation does not take over.
   */
  prepare?(): unknown;
  /**
   * Starts to take work: for the first time, or again because the successor failed.
   * @throws if it cannot consume. During probation, the handover is then undone, and the predecessor starts again.
   */
  start(start: ConsumerStart): unknown;
  /**
   * Takes no new work, and finishes work in progress or returns it to its source. When it returns, this
   * consumer has no work in progress. `start` may follow again.
   * @returns what the successor's `start` gets as `saved`, structured-cloneable; or undefined.
   */
  stop(stop: ConsumerStop): unknown;
  /**
   * Closes what was opened. This is the last call: after `stop` when this generation ends, or without `start`
   * if the handover to it was canceled.
   */
  close?(): unknown;
}

/** Options of a consumer. */
export interface ConsumerOptions {
  /**
   * - `exclusive`: the successor starts after the predecessor has stopped; keeps order and single ownership.
   * - `overlap`: the successor starts first, then the predecessor stops; throughput does not drop.
   *
   * Default `exclusive`.
   */
  readonly changeover?: 'exclusive' | 'overlap';
  /**
   * How many milliseconds `stop` may take before its signal aborts; default 10,000. The end of the drain time-out
   * aborts it, too.
   */
  readonly stopWithinMs?: number;
}
