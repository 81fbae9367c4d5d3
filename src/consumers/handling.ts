/** What a handler is told beside its message. */
export interface Handling {
  /** Aborts when the message is taken back: the deadline of the changeover has come. */
  readonly signal: AbortSignal;
  /** Grows with every change of owner; a fencing token for what the handler writes elsewhere. */
  readonly epoch: number;
}
