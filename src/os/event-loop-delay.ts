import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** How often the event loop is looked at: fifty times a second costs next to nothing. */
const LOOK_MS = 20;
/** Several may ask; what each hears is of at least so long. */
const WINDOW_MS = 1000;
const MS_IN_NS = 1e6;

/** How much later than due the event loop came to its timers, in milliseconds. */
export interface LoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Measures the delay of this thread's event loop, from its start to its stop. */
export class EventLoopDelay {
  #histogram: IntervalHistogram | undefined;
  #sinceMs = 0;
  #last: LoopDelay = { p50Ms: 0, p99Ms: 0, maxMs: 0 };

  start(): void {
    if (this.#histogram !== undefined) return;
    this.#histogram = monitorEventLoopDelay({ resolution: LOOK_MS });
    this.#histogram.enable();
    this.#sinceMs = performance.now();
  }

  stop(): void {
    this.#histogram?.disable();
    this.#histogram = undefined;
  }

  /** The delay since the time before. */
  read(): LoopDelay {
    const histogram = this.#histogram;
    const isDue = performance.now() - this.#sinceMs >= WINDOW_MS;
    if (histogram === undefined || histogram.count === 0 || !isDue) return this.#last;
    // Source: Node's src/histogram.cc, IntervalHistogram: it records the time between two looks, the interval included.
    const late = (ns: number) => Math.max(0, ns / MS_IN_NS - LOOK_MS);
    this.#last = {
      p50Ms: late(histogram.percentile(50)),
      p99Ms: late(histogram.percentile(99)),
      maxMs: late(histogram.max),
    };
    histogram.reset();
    this.#sinceMs = performance.now();
    return this.#last;
  }
}
