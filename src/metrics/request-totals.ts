import { noDurations } from '../protocol/durations.js';
import type { Measures } from '../protocol/messages.js';
import { remember } from './latest.js';
import type { MetricSet } from './metric-set.js';

/** More than can live at a time. */
const MAX_KNOWN = 1024;

/** Adds up what the generations of each slot have measured: the sum stays when a generation is gone. */
export class RequestTotals {
  readonly #set: MetricSet;
  /** What each generation has told so far; also of some that have ended, whose last word may come late. */
  readonly #told = new Map<number, Measures>();

  constructor(set: MetricSet) {
    this.#set = set;
  }

  /** A generation has told what it has measured since its start. */
  add(slot: string, generation: number, now: Measures): void {
    const before = this.#told.get(generation);
    // What is older than what is known, as from an answer that was late, adds nothing.
    if (before !== undefined && now.requests < before.requests) return;
    remember(this.#told, generation, now, MAX_KNOWN);
    const grown = (of: (measures: Measures) => number) => of(now) - (before === undefined ? 0 : of(before));
    this.#set.counter('requests').inc(
      { slot },
      grown(({ requests }) => requests),
    );
    this.#set.counter('errors').inc(
      { slot },
      grown(({ errors }) => errors),
    );
    const counts = noDurations().map((_, i) => grown(({ durations }) => durations[i] ?? 0));
    this.#set.classes('requestDuration').add(
      slot,
      counts,
      grown(({ durationSumMs }) => durationSumMs),
    );
  }
}
