import type { SupervisorOptions } from '../options.js';

/** How long after its start a service that shows no listener is taken for ready, where no option says. */
const READY_AFTER_MS = 3000;
/** How much longer one is waited for that is busy, and may be loading; in any case it is ready within its time-out. */
const BUSY_MS = 9000;
const BUSY_SHARE = 0.5;

/** How long after its start a service that shows no listener is taken for ready, in milliseconds. */
export function readyAfterOf({ readyAfterMs, readyTimeoutMs }: SupervisorOptions): number {
  return readyAfterMs ?? Math.min(READY_AFTER_MS, readyTimeoutMs / 2);
}

/** How long after its start a service that shows no listener is ready, and one that is busy all the time; milliseconds. */
export function readyTimes(options: SupervisorOptions) {
  const afterMs = readyAfterOf(options);
  const busyAfterMs = Math.max(afterMs, Math.min(afterMs + BUSY_MS, options.readyTimeoutMs * BUSY_SHARE));
  const isTimed = options.changeover === 'exclusive';
  return { afterMs, busyAfterMs, busyAloneAfterMs: isTimed ? busyAfterMs : afterMs + BUSY_MS };
}
