/** Milliseconds of the monotonic clock, which all processes of the machine share. Source: clock_gettime(2), CLOCK_MONOTONIC. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Microseconds of the same clock, as systemd compares them. */
export function monotonicMicroseconds(): bigint {
  return process.hrtime.bigint() / 1000n;
}

/** Milliseconds since 1970. */
export function wallClockMs(): number {
  return Date.now();
}

/**
 * The epoch after this one. By the clock, so that it is also above those of which nobody is left to tell: a successor
 * may have had one, and been killed before anyone heard of it.
 */
export function epochAfter(epoch: number): number {
  return Math.max(epoch + 1, Math.floor(wallClockMs()));
}
