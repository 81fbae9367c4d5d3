import type { ClientKind } from './client-kind.js';
import type { Failure, FailureReason } from './failure.js';
import { Samples } from './samples.js';
import type { Timeline } from './timeline.js';

/** The most failures that are listed one by one; all are counted. */
const MAX_LISTED_FAILURES = 1_000;

/** The figures of one kind of clients at one moment. */
export interface Counts {
  /** Requests that are over: answered or failed. */
  readonly requests: number;
  readonly answered: number;
  readonly failed: number;
  /** Permanent connections that ended while nothing was in flight, unannounced. */
  readonly lost: number;
  /** Answers that no request waited for. */
  readonly duplicated: number;
  /** Connections opened again by permanent clients, for whatever reason. */
  readonly redials: number;
  /** Permanent connections that ended with a response that announced it. */
  readonly toldToClose: number;
  /** Whole responses by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Answers by generation, as far as the answers tell it. */
  readonly generations: Readonly<Record<string, number>>;
  /** Failed, lost and duplicated by reason. */
  readonly reasons: Readonly<Record<string, number>>;
}

/** The listed failures of a load, in the order in which they happened. */
export class FailureList {
  readonly listed: Failure[] = [];

  add(failure: Failure): void {
    if (this.listed.length < MAX_LISTED_FAILURES) this.listed.push(failure);
  }
}

/** Counts what happens to the clients of one kind. */
export class Tally {
  readonly kind: ClientKind;
  readonly samples = new Samples();
  readonly #failures: FailureList;
  readonly #timeline: Timeline;
  readonly #settleMs: number;
  #answered = 0;
  #failed = 0;
  #lost = 0;
  #duplicated = 0;
  redials = 0;
  toldToClose = 0;
  readonly #statuses: Record<string, number> = {};
  readonly #generations: Record<string, number> = {};
  readonly #reasons: Record<string, number> = {};

  /** Latencies of the first `settleMs` are left out of the samples; failures never are. */
  constructor(kind: ClientKind, shared: { failures: FailureList; timeline: Timeline; settleMs: number }) {
    this.kind = kind;
    this.#failures = shared.failures;
    this.#timeline = shared.timeline;
    this.#settleMs = shared.settleMs;
  }

  /** A whole response came, whatever the check of it says. */
  sawStatus(status: number): void {
    bump(this.#statuses, String(status));
  }

  answered(atMs: number, latencyMs: number, generation: string | undefined): void {
    this.#answered += 1;
    if (generation !== undefined) bump(this.#generations, generation);
    if (atMs >= this.#settleMs) this.samples.add(atMs, latencyMs);
    this.#timeline.answered(atMs, latencyMs, generation);
  }

  wentWrong(failure: Omit<Failure, 'kind'>): void {
    if (failure.what === 'failed') this.#failed += 1;
    else if (failure.what === 'lost') this.#lost += 1;
    else this.#duplicated += 1;
    const reason: FailureReason = failure.reason;
    bump(this.#reasons, reason);
    this.#timeline.failed(failure.atMs);
    this.#failures.add({ kind: this.kind, ...failure });
  }

  counts(): Counts {
    return {
      requests: this.#answered + this.#failed,
      answered: this.#answered,
      failed: this.#failed,
      lost: this.#lost,
      duplicated: this.#duplicated,
      redials: this.redials,
      toldToClose: this.toldToClose,
      statuses: { ...this.#statuses },
      generations: { ...this.#generations },
      reasons: { ...this.#reasons },
    };
  }
}

/** The sum of several counts. */
export function sumCounts(all: readonly Counts[]): Counts {
  const sum = (pick: (counts: Counts) => number) => all.reduce((total, counts) => total + pick(counts), 0);
  const merge = (pick: (counts: Counts) => Readonly<Record<string, number>>) => {
    const merged: Record<string, number> = {};
    for (const counts of all) {
      for (const [key, count] of Object.entries(pick(counts))) merged[key] = (merged[key] ?? 0) + count;
    }
    return merged;
  };
  return {
    requests: sum((counts) => counts.requests),
    answered: sum((counts) => counts.answered),
    failed: sum((counts) => counts.failed),
    lost: sum((counts) => counts.lost),
    duplicated: sum((counts) => counts.duplicated),
    redials: sum((counts) => counts.redials),
    toldToClose: sum((counts) => counts.toldToClose),
    statuses: merge((counts) => counts.statuses),
    generations: merge((counts) => counts.generations),
    reasons: merge((counts) => counts.reasons),
  };
}

function bump(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
