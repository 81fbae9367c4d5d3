import type { Settings } from '../protocol/messages.js';

/** How a service that restarts itself treats its generations. Times in milliseconds. */
export interface StandaloneOptions {
  /** How long a successor may take to say that it is ready. */
  readonly readyTimeoutMs: number;
  /** How long connections that cannot move may take to end. */
  readonly drainTimeoutMs: number;
  /** Over how long of that what must be closed is closed, evenly. */
  readonly drainSpreadMs: number;
  /** How long after commit this generation stays able to resume. */
  readonly probationMs: number;
  /** How long a commit waits for critical sections. */
  readonly busyTimeoutMs: number;
  /** How long a generation that got its stop signal may take to end. */
  readonly stopTimeoutMs: number;
  /** The signal by which a generation is asked to end. */
  readonly stopSignal: NodeJS.Signals;
  /** Where the number of the serving process is written; null for nowhere. */
  readonly pidFile: string | null;
  /** Variables for a successor beside those of this process. */
  readonly variables: Readonly<Record<string, string>>;
  /** The path at which strangers may take over; null for nowhere. */
  readonly door: string | null;
  /** The path at which this process takes over as a stranger, where somebody is there; null for nowhere. */
  readonly takeOver: string | null;
  /** Users whose processes may take over or hand over, besides the same user and root. */
  readonly allowUids: readonly number[];
  /** What starts a successor. */
  readonly command: StartCommand;
}

/** A program and its arguments, as they were written: paths are followed anew at each start. */
export interface StartCommand {
  readonly command: string;
  readonly args: readonly string[];
  /** The working directory by name, so that a symlink in it can be switched. */
  readonly cwd: string;
}

/** The settings of a handover that this process makes with its own successor. */
export function settingsOf(options: StandaloneOptions): Settings {
  const { readyTimeoutMs, drainTimeoutMs, drainSpreadMs, probationMs, busyTimeoutMs, stopSignal } = options;
  return {
    readyTimeoutMs,
    drainTimeoutMs,
    drainSpreadMs,
    probationMs,
    busyTimeoutMs,
    stopSignal,
    waitReady: true,
    // The service says itself when it is ready; how many listeners it wants is its own affair.
    allowFewerListeners: true,
    checked: false,
    countErrors: false,
  };
}
