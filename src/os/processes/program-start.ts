import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** The kernel tells the time since its start in hundredths of a second. A difference of less than two of them is none. */
const STEP_MS = 10;
/** Node goes on for some milliseconds from where it says that its environment is there until it runs any code. */
const SETUP_MS = 5;
/** Of so many readings the one that was interrupted least counts. */
const READINGS = 5;

let sinceMs: number | undefined;

/**
 * When this program began to run code, in milliseconds since the start of the system: the clock by which the kernel tells
 * when a process began. The process may be older, where a shell became this program. For the main thread.
 */
export function codeRunsSince(): number {
  sinceMs ??= originMs() + sleptMs() + performance.nodeTiming.environment + SETUP_MS;
  return sinceMs;
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The beginning of `performance.now()` on the monotonic clock. */
function originMs(): number {
  const readings = Array.from({ length: READINGS }, () => monotonicMs() - performance.now());
  // An interruption between the two makes it earlier.
  return Math.max(...readings);
}

/** How long the system was suspended, for which the monotonic clock stood still. Source: clock_gettime(2), CLOCK_BOOTTIME. */
function sleptMs(): number {
  const readings = Array.from({ length: READINGS }, () => {
    const bootMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
    return bootMs + STEP_MS / 2 - monotonicMs();
  });
  const ms = Math.max(...readings);
  return Math.abs(ms) < 2 * STEP_MS ? 0 : ms;
}
