import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { ClassHistogram } from './class-histogram.js';
import { type LabelsOf, type MetricKey, metricTable } from './metric-table.js';

/** From one that a stage takes at least to one that is far beyond any good restart. */
const STAGE_BOUNDS_S = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Those whose durations others have counted. */
const CLASSED = new Set<string>([metricTable.pause.name, metricTable.requestDuration.name]);

/** The metrics of the table as prom-client keeps them, in a registry of their own. */
export class MetricSet {
  readonly registry = new Registry();
  readonly #made = new Map<string, Counter<string> | Gauge<string> | Histogram<string>>();

  /** @param service goes to every series as a label. */
  constructor(service: string) {
    this.registry.setDefaultLabels({ service });
    for (const { name, type, help, labels } of Object.values(metricTable)) {
      const made = { name, help, labelNames: [...labels], registers: [this.registry] };
      if (type === 'counter') this.#made.set(name, new Counter(made));
      else if (type === 'gauge') this.#made.set(name, new Gauge(made));
      else if (CLASSED.has(name))
        this.#made.set(name, new ClassHistogram(name, help, labels[0], this.registry));
      else this.#made.set(name, new Histogram({ ...made, buckets: STAGE_BOUNDS_S }));
    }
  }

  counter<K extends MetricKey>(key: K): Counter<LabelsOf<K>> {
    return this.#of(key, Counter);
  }

  gauge<K extends MetricKey>(key: K): Gauge<LabelsOf<K>> {
    return this.#of(key, Gauge);
  }

  histogram<K extends MetricKey>(key: K): Histogram<LabelsOf<K>> {
    return this.#of(key, Histogram);
  }

  classes(key: 'pause' | 'requestDuration'): ClassHistogram {
    return this.#of(key, ClassHistogram);
  }

  #of<T extends object>(key: MetricKey, kind: abstract new (...args: never[]) => T): T {
    const made = this.#made.get(metricTable[key].name);
    if (made instanceof kind) return made;
    throw new TypeError(`${metricTable[key].name} is no ${kind.name}`);
  }
}
