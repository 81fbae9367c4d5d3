import type { Settings } from '../protocol/messages.js';

/** How a supervisor treats its service. Times in milliseconds. */
export interface SupervisorOptions {
  readonly readyTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** How long after commit the predecessor stays able to resume. */
  readonly probationMs: number;
  /** How long a generation that got its stop signal may take to end. */
  readonly stopTimeoutMs: number;
  readonly stopSignal: NodeJS.Signals;
  readonly waitReady: boolean;
  /** What to do when the service ends by itself: `on-failure` lets one that exits with 0 be over. */
  readonly restart: 'always' | 'on-failure' | 'never';
}

/** The defaults, as `moult run --help` shows them. */
export const defaultOptions: SupervisorOptions = {
  readyTimeoutMs: 30_000,
  drainTimeoutMs: 30_000,
  probationMs: 10_000,
  stopTimeoutMs: 10_000,
  stopSignal: 'SIGTERM',
  waitReady: false,
  restart: 'on-failure',
};

/** What a generation is told of them. */
export function settingsOf(
  options: SupervisorOptions,
  allowFewerListeners: boolean,
  waitReady: boolean,
): Settings {
  const { readyTimeoutMs, drainTimeoutMs, probationMs, stopSignal } = options;
  return { readyTimeoutMs, drainTimeoutMs, probationMs, stopSignal, waitReady, allowFewerListeners };
}
