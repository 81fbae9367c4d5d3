import type { MoultError } from '../../errors.js';
import type { Listener } from '../../listeners/listener.js';
import type { DrainReport } from '../../protocol/messages.js';

/** What a predecessor tells of its handover. */
export interface PredecessorEvents {
  /** Whether a supervisor is there. */
  isOverseen(): boolean;
  /** A stage was reached; facts are for the operator. */
  stage(stage: string, facts: Record<string, unknown>): void;
  /** The handover ended before commit; this generation has served all the time. */
  aborted(error: MoultError): void;
  /** The handover was undone after commit; this generation accepts again. @param alive whether the successor lives, and hands back what it has. */
  undone(error: MoultError, alive: boolean): void;
  /** What this generation has is the predecessor's, which serves again. */
  takenBack(): void;
  /** The predecessor, to which this generation was handing back, is gone: this one accepts again. */
  servesOn(): void;
  /** A listener that the successor did not claim was closed for good. */
  released(name: string): void;
  /** The successor is given a listener that the service has only opened now. */
  given(listener: Listener): void;
  /** Nothing is left to do here: the service may get its stop signal. */
  drained(report: DrainReport): void;
}
