/** Up to which durations are counted together, in milliseconds; part of the protocol. */
export const DURATION_BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000] as const;

/** Durations, each counted with those of its class; the last class has what is longer than the last bound. */
export interface ClassedDurations {
  readonly counts: readonly number[];
  readonly sumMs: number;
}

/** A count of 0 for each class. */
export function noDurations(): number[] {
  return new Array<number>(DURATION_BOUNDS_MS.length + 1).fill(0);
}

/** The class of a duration. */
export function classOf(ms: number): number {
  const at = DURATION_BOUNDS_MS.findIndex((bound) => ms <= bound);
  return at === -1 ? DURATION_BOUNDS_MS.length : at;
}

/** How many of these durations are in each class. */
export function classed(durationsMs: readonly number[]): ClassedDurations {
  const counts = noDurations();
  let sumMs = 0;
  for (const ms of durationsMs) {
    const at = classOf(ms);
    counts[at] = (counts[at] ?? 0) + 1;
    sumMs += ms;
  }
  return { counts, sumMs };
}
