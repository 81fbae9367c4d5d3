import type { JournalEntry } from '../lifecycle/journal-entry.js';
import { wallClockMs } from '../os/clock.js';
import { MOULT_VERSION } from '../version.js';
import { MetricSet } from './metric-set.js';
import type { Observed } from './observed.js';
import { RequestTotals } from './request-totals.js';
import { RestartMetrics } from './restart-metrics.js';
import { StateMetrics, slotLabel } from './state-metrics.js';

/** How often it is asked what was measured, so that a generation that is killed takes little of it along. */
const SAMPLE_MS = 5000;

/** The metrics of one service as text, as Prometheus reads it. */
export class Exposition {
  readonly #observed: Observed;
  readonly #set: MetricSet;
  readonly #restarts: RestartMetrics;
  readonly #state: StateMetrics;
  readonly #requests: RequestTotals;
  #sampled: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #unwatch: () => void;

  constructor(service: string, observed: Observed) {
    this.#observed = observed;
    this.#set = new MetricSet(service);
    this.#restarts = new RestartMetrics(this.#set);
    this.#state = new StateMetrics(this.#set, MOULT_VERSION);
    this.#requests = new RequestTotals(this.#set);
    for (const fact of observed.facts()) this.#restarts.add(fact);
    this.#unwatch = observed.watch((fact) => this.#add(fact));
  }

  /** Asks again and again what was measured, until it is closed. */
  sampleRegularly(): void {
    this.#timer ??= setInterval(() => this.#sample().catch(() => {}), SAMPLE_MS).unref();
  }

  get contentType(): string {
    return this.#set.registry.contentType;
  }

  /** All metrics as they are now. Whoever asks meanwhile gets the same. */
  async text(): Promise<string> {
    await this.#sample();
    return this.#set.registry.metrics();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#unwatch();
  }

  #sample(): Promise<void> {
    this.#sampled ??= this.#look().finally(() => {
      this.#sampled = undefined;
    });
    return this.#sampled;
  }

  async #look(): Promise<void> {
    const status = await this.#observed.status(true);
    this.#state.update(status, this.#observed.slots(), wallClockMs());
    for (const { slot, generation, measures } of status.generations)
      if (measures !== undefined) this.#requests.add(slotLabel(slot), generation, measures);
  }

  #add(fact: JournalEntry): void {
    this.#restarts.add(fact);
    const { event, generation, slot } = fact;
    if (generation === undefined) return;
    if (event === 'drained') {
      const last = this.#observed.measuresOf(generation);
      if (last !== undefined) this.#requests.add(slotLabel(slot), generation, last);
    }
  }
}
