import { DURATION_BOUNDS_MS } from '../protocol/durations.js';
import type { Measures } from '../protocol/messages.js';
import type { GenerationStatus } from '../supervisor/status.js';
import type { Sample } from './page-messages.js';

const PERCENTILE = 0.99;

interface Before {
  readonly at: number;
  readonly measures: Measures;
}

/** Makes the figures of the charts from one look at a generation and the one before. */
export class Sampler {
  #before = new Map<number, Before>();

  /** @param at milliseconds since 1970. */
  take(generations: readonly GenerationStatus[], at: number): Sample[] {
    const next = new Map<number, Before>();
    const samples = generations.map((one) => {
      const { generation, measures } = one;
      if (measures !== undefined) next.set(generation, { at, measures });
      return {
        at,
        generation,
        ...(one.slot === undefined ? {} : { slot: one.slot }),
        state: one.state,
        ...(one.connections === undefined ? {} : { connections: one.connections }),
        ...(one.memoryBytes === undefined ? {} : { memoryBytes: one.memoryBytes }),
        ...(measures === undefined ? {} : ratesOf(measures, this.#before.get(generation), at)),
      };
    });
    this.#before = next;
    return samples;
  }
}

function ratesOf(now: Measures, before: Before | undefined, at: number): Partial<Sample> {
  const loopDelayMs = now.delayP99Ms;
  if (before === undefined || at <= before.at) return { loopDelayMs };
  const seconds = (at - before.at) / 1000;
  const requests = now.requests - before.measures.requests;
  const errors = now.errors - before.measures.errors;
  const rates = { loopDelayMs, requests: requests / seconds, errors: errors / seconds };
  if (requests <= 0) return rates;
  const meanMs = (now.durationSumMs - before.measures.durationSumMs) / requests;
  const counts = now.durations.map((count, i) => count - (before.measures.durations[i] ?? 0));
  return { ...rates, meanMs, p99Ms: boundOf(counts, requests) };
}

/** The bound below which so many of them were; of those beyond the last bound that one. */
function boundOf(counts: readonly number[], total: number): number {
  let sum = 0;
  const at = counts.findIndex((count) => {
    sum += count;
    return sum >= total * PERCENTILE;
  });
  return DURATION_BOUNDS_MS[at] ?? DURATION_BOUNDS_MS.at(-1) ?? 0;
}
