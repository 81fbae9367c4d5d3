/** The most samples that are kept of one kind; more are only counted. */
const MAX_SAMPLES = 4_000_000;

/** A stretch of time, in milliseconds since the load began. */
export interface TimeWindow {
  readonly beginMs: number;
  readonly endMs: number;
}

/** Percentiles of latencies, in milliseconds; zeros if there are no samples. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Latencies with the time at which each was measured, 12 bytes a sample. */
export class Samples {
  #endMs = new Float64Array(1024);
  #latencyMs = new Float32Array(1024);
  #size = 0;
  /** Samples that came after the limit of four million. */
  dropped = 0;

  add(endMs: number, latencyMs: number): void {
    if (this.#size >= MAX_SAMPLES) {
      this.dropped += 1;
      return;
    }
    if (this.#size === this.#endMs.length) this.#grow();
    this.#endMs[this.#size] = endMs;
    this.#latencyMs[this.#size] = latencyMs;
    this.#size += 1;
  }

  /** Splits by whether any part of a request fell into one of the windows (in ascending order). */
  summarise(windows: readonly TimeWindow[]): { steady: LatencySummary; during: LatencySummary } {
    const steady = new Float32Array(this.#size);
    const during = new Float32Array(this.#size);
    let steadySize = 0;
    let duringSize = 0;
    for (let i = 0; i < this.#size; i += 1) {
      const endMs = this.#endMs[i] ?? 0;
      const latencyMs = this.#latencyMs[i] ?? 0;
      if (touchesOne(windows, endMs - latencyMs, endMs)) {
        during[duringSize] = latencyMs;
        duringSize += 1;
      } else {
        steady[steadySize] = latencyMs;
        steadySize += 1;
      }
    }
    return {
      steady: summary(steady.subarray(0, steadySize)),
      during: summary(during.subarray(0, duringSize)),
    };
  }

  #grow(): void {
    const endMs = new Float64Array(this.#endMs.length * 2);
    const latencyMs = new Float32Array(this.#latencyMs.length * 2);
    endMs.set(this.#endMs);
    latencyMs.set(this.#latencyMs);
    this.#endMs = endMs;
    this.#latencyMs = latencyMs;
  }
}

function touchesOne(windows: readonly TimeWindow[], beginMs: number, endMs: number): boolean {
  let low = 0;
  let high = windows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((windows[middle]?.endMs ?? 0) < beginMs) low = middle + 1;
    else high = middle;
  }
  const first = windows[low];
  return first !== undefined && first.beginMs <= endMs;
}

function summary(latencies: Float32Array): LatencySummary {
  latencies.sort();
  const at = (share: number) => round(latencies[Math.ceil(latencies.length * share) - 1] ?? 0);
  return { count: latencies.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
