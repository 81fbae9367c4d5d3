import type { PauseCounts, RemainingConnections, RestartSummary } from './restart-record.js';

/** How one slot was replaced. */
export type SlotSummary = RestartSummary & {
  /** Which one. */
  readonly slot: number;
};

/** What the restarts of several slots came to, in all. @param slots at least one, in the order in which they were replaced. Pure. */
export function rollSummary(slots: readonly SlotSummary[], tookMs: number): RestartSummary {
  const most = (of: (one: SlotSummary) => number) => Math.max(0, ...slots.map(of));
  const sum = (of: (one: SlotSummary) => number) => slots.reduce((all, one) => all + of(one), 0);
  const medians = slots.map(({ pauseP50Ms }) => pauseP50Ms).sort((a, b) => a - b);
  const remaining = remainingOf(slots);
  const pauses = pausesOf(slots);
  const watchedMs = most((one) => one.watchedMs ?? 0);
  const drainedBecause = slots.find((one) => one.drainedBecause !== undefined)?.drainedBecause;
  return {
    generation: most(({ generation }) => generation),
    predecessor: slots.at(-1)?.predecessor ?? null,
    listeners: most(({ listeners }) => listeners),
    moved: sum(({ moved }) => moved),
    draining: sum(({ draining }) => draining),
    ...(remaining.length === 0 ? {} : { remaining }),
    cut: sum(({ cut }) => cut),
    longestPauseMs: most(({ longestPauseMs }) => longestPauseMs),
    pauseP50Ms: medians[Math.floor(medians.length / 2)] ?? 0,
    pauseP99Ms: most(({ pauseP99Ms }) => pauseP99Ms),
    ...(pauses === undefined ? {} : { pauses }),
    ...(watchedMs === 0 ? {} : { watchedMs }),
    tookMs,
    stages: slots.map(({ slot, tookMs: ms }) => ({ stage: `slot ${slot}`, ms })),
    ...(drainedBecause === undefined ? {} : { drainedBecause }),
    slots,
  };
}

function pausesOf(slots: readonly SlotSummary[]): PauseCounts | undefined {
  const all = slots.flatMap(({ pauses }) => pauses ?? []);
  const [first] = all;
  if (first === undefined) return undefined;
  const sum = (of: (one: PauseCounts) => number) => all.reduce((sum, one) => sum + of(one), 0);
  return {
    counts: first.counts.map((_, at) => sum(({ counts }) => counts[at] ?? 0)),
    sumMs: sum(({ sumMs }) => sumMs),
  };
}

function remainingOf(slots: readonly SlotSummary[]): RemainingConnections[] {
  const counts = new Map<string, number>();
  for (const { reason, connections } of slots.flatMap((one) => one.remaining ?? []))
    counts.set(reason, (counts.get(reason) ?? 0) + connections);
  return [...counts]
    .map(([reason, connections]) => ({ reason, connections }))
    .sort((a, b) => b.connections - a.connections);
}
