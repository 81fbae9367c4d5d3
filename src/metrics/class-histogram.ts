import { Histogram, type Registry } from 'prom-client';
import { DURATION_BOUNDS_MS, noDurations } from '../protocol/durations.js';

const MS_IN_S = 1000;
const DURATION_BOUNDS_S = DURATION_BOUNDS_MS.map((ms) => ms / MS_IN_S);

/** One line of a metric, as prom-client writes it. */
interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName: string;
}

/** A histogram to which durations are added that others have counted in classes: each by itself is not known. */
export class ClassHistogram extends Histogram<string> {
  readonly #name: string;
  readonly #help: string;
  readonly #labelled = new Map<string, { counts: number[]; sumMs: number }>();
  readonly #label: string | undefined;

  /** @param label by which durations are told apart; none for all together. */
  constructor(name: string, help: string, label: string | undefined, registry: Registry) {
    super({ name, help, buckets: DURATION_BOUNDS_S, registers: [registry] });
    this.#name = name;
    this.#help = help;
    this.#label = label;
    if (label === undefined) this.add('', [], 0);
  }

  /** @param counts of each class, as DURATION_BOUNDS_MS has them. */
  add(labelled: string, counts: readonly number[], sumMs: number): void {
    const known = this.#labelled.get(labelled) ?? { counts: noDurations(), sumMs: 0 };
    known.counts = known.counts.map((count, i) => count + (counts[i] ?? 0));
    known.sumMs += sumMs;
    this.#labelled.set(labelled, known);
  }

  /** What the registry writes as text. Source: prom-client's lib/registry.js, getMetricsAsString, and its own Histogram. */
  async getForPromString() {
    const values = [...this.#labelled].flatMap(([labelled, { counts, sumMs }]) => {
      const labels = this.#label === undefined ? {} : { [this.#label]: labelled };
      return this.#valuesOf(labels, counts, sumMs);
    });
    return { name: this.#name, help: this.#help, type: 'histogram', values };
  }

  #valuesOf(labels: Record<string, string>, counts: readonly number[], sumMs: number): Value[] {
    let sum = 0;
    const buckets = [...DURATION_BOUNDS_S, '+Inf'].map((le, i) => {
      sum += counts[i] ?? 0;
      return { labels: { le, ...labels }, value: sum, metricName: `${this.#name}_bucket` };
    });
    return [
      ...buckets,
      { labels, value: sumMs / MS_IN_S, metricName: `${this.#name}_sum` },
      { labels, value: sum, metricName: `${this.#name}_count` },
    ];
  }
}
