import { socketBelow } from '../node/tls-sockets.js';
import { EventLoopDelay } from '../os/event-loop-delay.js';
import { noDurations } from '../protocol/durations.js';
import type { Measures } from '../protocol/messages.js';
import { RequestMeter } from './http1/request-meter.js';
import type { ConnectionTracker } from './tracker.js';

/** Where nobody has asked for so long, nothing is measured any more. */
const UNASKED_MS = 60_000;

/** What this thread measures of its service: only while somebody asks for it, unless it is to for its whole life. */
export class Measuring {
  readonly #requests: RequestMeter;
  readonly #delay = new EventLoopDelay();
  #isOn = false;
  #isForLife = false;
  #limit: NodeJS.Timeout | undefined;

  constructor(connections: ConnectionTracker) {
    this.#requests = new RequestMeter((socket) => connections.of(socketBelow(socket)) !== undefined);
  }

  /** Measures for as long as this thread lives. */
  startForLife(): void {
    this.#isForLife = true;
    this.#start();
  }

  /** Somebody wants to know, and will ask again. */
  ask(): Measures {
    this.#start();
    if (!this.#isForLife) {
      clearTimeout(this.#limit);
      this.#limit = setTimeout(() => this.#stop(), UNASKED_MS).unref();
    }
    return this.#read();
  }

  /** What was measured; undefined where nothing is. */
  get measured(): Measures | undefined {
    return this.#isOn ? this.#read() : undefined;
  }

  #start(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#requests.start();
    this.#delay.start();
  }

  #stop(): void {
    this.#isOn = false;
    this.#requests.stop();
    this.#delay.stop();
  }

  #read(): Measures {
    const { requests, errors, durations, durationSumMs } = this.#requests;
    const { p50Ms, p99Ms, maxMs } = this.#delay.read();
    return {
      requests,
      errors,
      durations: [...durations],
      durationSumMs,
      delayP50Ms: p50Ms,
      delayP99Ms: p99Ms,
      delayMaxMs: maxMs,
    };
  }
}

/** What several threads of one process have measured: requests together, and the delay of the one that was latest. */
export function together(all: readonly Measures[]): Measures | undefined {
  const [first, ...others] = all;
  if (first === undefined) return undefined;
  return others.reduce(
    (sum, one) => ({
      requests: sum.requests + one.requests,
      errors: sum.errors + one.errors,
      durations: noDurations().map((_, i) => (sum.durations[i] ?? 0) + (one.durations[i] ?? 0)),
      durationSumMs: sum.durationSumMs + one.durationSumMs,
      delayP50Ms: Math.max(sum.delayP50Ms, one.delayP50Ms),
      delayP99Ms: Math.max(sum.delayP99Ms, one.delayP99Ms),
      delayMaxMs: Math.max(sum.delayMaxMs, one.delayMaxMs),
    }),
    first,
  );
}
