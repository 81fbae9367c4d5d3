import type { Target } from '../client/target.js';

/** What a restart reported. */
export interface RestartOutcome {
  readonly ok: boolean;
  readonly generation?: number | undefined;
  readonly summary?: CommandSummary | undefined;
  readonly error?: { readonly code: string; readonly message: string } | undefined;
}

/** What moved in a restart; figures that were not told are left out. */
export interface CommandSummary {
  readonly listeners?: number | undefined;
  readonly moved?: number | undefined;
  readonly draining?: number | undefined;
  readonly cut?: number | undefined;
  readonly longestPauseMs?: number | undefined;
  readonly stages?: readonly { readonly stage: string; readonly ms: number }[] | undefined;
}

/** A service that runs, that can be restarted, and that clients can reach. */
export interface ServiceUnderTest {
  readonly target: Target;
  /** Restarts it and reports; a failed restart is an outcome, not an exception. */
  restart(): Promise<RestartOutcome>;
  /** How many connections each slot has, where it runs in slots; those that do not answer are left out. */
  connectionsBySlot?(): Promise<readonly number[] | undefined>;
  /** Stops it, if it was started for the test, and removes what it left. */
  stop(): Promise<void>;
}
