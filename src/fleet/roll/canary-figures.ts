/** What a host has answered while its canaries were watched. */
export interface Figures {
  readonly requests: number;
  /** Those with a status of 5xx. */
  readonly errors: number;
  /** How long all of them took together, in milliseconds. */
  readonly durationSumMs: number;
}

/** How much worse than the rest canaries may be. */
export interface CanaryLimits {
  /** How much higher their share of 5xx may be, from 0 to 1. */
  readonly maxErrorRate: number;
  /** How many times as long their requests may take on average. */
  readonly maxSlowdown: number;
}

/** From so many requests on they tell something. */
const ENOUGH = 50;
/** What nobody notices is no slowdown, in milliseconds. */
const UNNOTICED_MS = 50;

/**
 * What was wrong with the canaries while they were watched, compared with hosts that have the release before; undefined for
 * nothing, also where too little is known. Pure.
 */
export function judgeCanaries(
  canaries: readonly Figures[],
  rest: readonly Figures[],
  { maxErrorRate, maxSlowdown }: CanaryLimits,
): string | undefined {
  const [theirs, others] = [together(canaries), together(rest)];
  if (theirs.requests < ENOUGH) return undefined;
  const [share, usual] = [theirs.errors / theirs.requests, others.errors / Math.max(1, others.requests)];
  if (share > usual + maxErrorRate)
    return `the canaries answered ${percent(share)} of ${theirs.requests} requests with 5xx, the rest ${percent(usual)}`;
  if (others.requests < ENOUGH) return undefined;
  const [took, usually] = [theirs.durationSumMs / theirs.requests, others.durationSumMs / others.requests];
  if (took <= usually * maxSlowdown || took <= usually + UNNOTICED_MS) return undefined;
  return `the canaries took ${took.toFixed(0)} ms for a request on average, the rest ${usually.toFixed(0)} ms`;
}

function together(all: readonly Figures[]): Figures {
  const sum = (of: (one: Figures) => number) => all.reduce((whole, one) => whole + of(one), 0);
  return {
    requests: sum((one) => one.requests),
    errors: sum((one) => one.errors),
    durationSumMs: sum((one) => one.durationSumMs),
  };
}

function percent(value: number): string {
  return `${(value * 100).toFixed(1)}%`;
}
