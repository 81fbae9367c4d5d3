import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { AnswerCheck } from './client/answer.js';
import { KeptAliveClient, NewConnectionClient } from './client/one-at-a-time.js';
import { PipelinedClient } from './client/pipelined.js';
import { prepareTemplate, type RequestTemplate } from './client/request.js';
import { SlowBodyClient } from './client/slow-body.js';
import { hostHeader, type Target, type TlsChoice } from './client/target.js';
import type { ClientSettings, VirtualClient } from './client/virtual-client.js';
import { CLIENT_KINDS, type ClientKind } from './tally/client-kind.js';
import type { Failure } from './tally/failure.js';
import type { LatencySummary, TimeWindow } from './tally/samples.js';
import { type Counts, FailureList, sumCounts, Tally } from './tally/tally.js';
import { Timeline, type TimelineBucket } from './tally/timeline.js';

/** What load to make, and how answers are checked. */
export interface LoadOptions {
  readonly target: Target;
  /** Speak TLS (default: plain HTTP). */
  readonly tls?: TlsChoice;
  /** Default: "plain". */
  readonly check?: AnswerCheck;
  /** Clients by kind (default: 100 kept-alive, and 20 of each other kind). */
  readonly clients?: Readonly<Partial<Record<ClientKind, number>>>;
  /** Requests by kind (default: GET /, and POST / for slow-body). */
  readonly requests?: Readonly<Partial<Record<ClientKind, RequestTemplate>>>;
  /** Mean think time of a client between requests, in milliseconds (default: 20). */
  readonly thinkMs?: number;
  /** Time for a request until its whole response, in milliseconds (default: 10,000). */
  readonly requestTimeoutMs?: number;
  /** Time for a connection to be established, in milliseconds (default: 5,000). */
  readonly connectTimeoutMs?: number;
  /** The most requests that a pipelining client has in flight (default: 4). */
  readonly maxPipelined?: number;
  /** Latencies of so many first milliseconds are left out of the figures (default: 0); failures never are. */
  readonly settleMs?: number;
  /**
   * The clients begin spread over so many milliseconds (default: 0). Node accepts one connection per turn of its
   * event loop, so that a crowd at the door makes the last of it wait. Source: libuv 1.45, uv__server_io.
   */
  readonly rampMs?: number;
}

/** The figures of one kind over the whole load. */
export interface KindReport extends Counts {
  readonly kind: ClientKind;
  readonly clients: number;
  /** Latencies outside the marked windows. */
  readonly steady: LatencySummary;
  /** Latencies of requests of which any part fell into a marked window. */
  readonly during: LatencySummary;
  /** Samples beyond the limit, which the latencies leave out. */
  readonly samplesDropped: number;
}

/** What a load found. */
export interface LoadReport {
  /** No request failed, no connection was lost, no answer came twice, and at least one came. */
  readonly ok: boolean;
  readonly durationMs: number;
  readonly kinds: readonly KindReport[];
  readonly total: Counts;
  /** The first 1,000. */
  readonly failures: readonly Failure[];
  /** The marked windows, in ascending order. */
  readonly windows: readonly TimeWindow[];
  /** What happened per 100 ms. */
  readonly timeline: readonly TimelineBucket[];
}

/** A load that runs. */
export interface Load {
  /** Milliseconds since the load began: the clock of windows, failures and the timeline. */
  nowMs(): number;
  /** Says that a restart took place from `beginMs` to `endMs`, on the clock of `nowMs()`. */
  markWindow(beginMs: number, endMs: number): void;
  /** The figures so far. */
  snapshot(): { readonly total: Counts; readonly kinds: Readonly<Record<ClientKind, Counts>> };
  /** What happened per 100 ms so far. */
  timeline(): readonly TimelineBucket[];
  /**
   * Begins no more requests, waits for those in flight for at most `deadlineMs` (default: 5,000), closes all
   * connections and reports; what is unanswered by then counts as failed. Later calls give the same report.
   */
  stop(deadlineMs?: number): Promise<LoadReport>;
}

const DEFAULT_CLIENTS: Readonly<Record<ClientKind, number>> = {
  'kept-alive': 100,
  pipelined: 20,
  'slow-body': 20,
  'new-connection': 20,
};

/** Starts a load of strict clients. Throws TypeError for a request that cannot be written. */
export function startLoad(options: LoadOptions): Load {
  return new RunningLoad(options);
}

class RunningLoad implements Load {
  readonly #beganAtMs = performance.now();
  readonly #windows: TimeWindow[] = [];
  readonly #failures = new FailureList();
  readonly #timeline = new Timeline();
  readonly #tallies = new Map<ClientKind, Tally>();
  readonly #clientCounts = new Map<ClientKind, number>();
  readonly #clients: VirtualClient[] = [];
  readonly #sweep: NodeJS.Timeout;
  #active: number;
  #resolveIdle: () => void = () => {};
  readonly #idle: Promise<void>;
  #report: Promise<LoadReport> | undefined;

  constructor(options: LoadOptions) {
    // Ids of another load against the same service must not be taken for ours.
    const run = randomBytes(3).toString('hex');
    const shared = {
      failures: this.#failures,
      timeline: this.#timeline,
      settleMs: options.settleMs ?? 0,
    };
    for (const kind of CLIENT_KINDS) {
      const count = options.clients === undefined ? DEFAULT_CLIENTS[kind] : (options.clients[kind] ?? 0);
      const tally = new Tally(kind, shared);
      this.#tallies.set(kind, tally);
      this.#clientCounts.set(kind, count);
      const settings = settingsOf(kind, options, tally, () => this.nowMs());
      for (let i = 0; i < count; i += 1)
        this.#clients.push(this.#client(kind, `${run}-${kind}-${i}`, settings));
    }
    this.#active = this.#clients.length;
    this.#idle = new Promise((resolve) => {
      this.#resolveIdle = resolve;
    });
    if (this.#active === 0) this.#resolveIdle();
    const shortestMs = Math.min(options.requestTimeoutMs ?? 10_000, options.connectTimeoutMs ?? 5_000);
    this.#sweep = setInterval(
      () => {
        for (const client of this.#clients) client.checkTimeouts();
      },
      Math.min(100, Math.max(5, shortestMs / 4)),
    );
    for (const client of this.#clients) client.start(Math.random() * (options.rampMs ?? 0));
  }

  nowMs(): number {
    return performance.now() - this.#beganAtMs;
  }

  markWindow(beginMs: number, endMs: number): void {
    this.#windows.push({ beginMs, endMs });
  }

  snapshot(): { total: Counts; kinds: Record<ClientKind, Counts> } {
    const of = (kind: ClientKind) => this.#tally(kind).counts();
    const kinds = {
      'kept-alive': of('kept-alive'),
      pipelined: of('pipelined'),
      'slow-body': of('slow-body'),
      'new-connection': of('new-connection'),
    };
    return { total: sumCounts(Object.values(kinds)), kinds };
  }

  timeline(): readonly TimelineBucket[] {
    return this.#timeline.buckets;
  }

  stop(deadlineMs = 5_000): Promise<LoadReport> {
    this.#report ??= this.#finish(deadlineMs);
    return this.#report;
  }

  async #finish(deadlineMs: number): Promise<LoadReport> {
    for (const client of this.#clients) client.stop();
    const over = new AbortController();
    const deadline = pause(deadlineMs, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([this.#idle, deadline]);
    over.abort();
    for (const client of this.#clients) client.abandon();
    clearInterval(this.#sweep);
    return this.#reportNow();
  }

  #reportNow(): LoadReport {
    const windows = [...this.#windows].sort((a, b) => a.beginMs - b.beginMs);
    const kinds = CLIENT_KINDS.filter((kind) => (this.#clientCounts.get(kind) ?? 0) > 0).map((kind) => {
      const tally = this.#tally(kind);
      return {
        kind,
        clients: this.#clientCounts.get(kind) ?? 0,
        ...tally.counts(),
        ...tally.samples.summarise(windows),
        samplesDropped: tally.samples.dropped,
      };
    });
    const total = sumCounts(kinds);
    return {
      ok: total.answered > 0 && total.failed === 0 && total.lost === 0 && total.duplicated === 0,
      durationMs: Math.round(this.nowMs()),
      kinds,
      total,
      failures: this.#failures.listed,
      windows,
      timeline: this.#timeline.buckets,
    };
  }

  #tally(kind: ClientKind): Tally {
    const tally = this.#tallies.get(kind);
    if (tally === undefined) throw new TypeError(`no tally of ${kind}`);
    return tally;
  }

  #client(kind: ClientKind, name: string, settings: ClientSettings): VirtualClient {
    const onIdle = () => {
      this.#active -= 1;
      if (this.#active === 0) this.#resolveIdle();
    };
    switch (kind) {
      case 'kept-alive':
        return new KeptAliveClient(name, settings, onIdle);
      case 'pipelined':
        return new PipelinedClient(name, settings, onIdle);
      case 'slow-body':
        return new SlowBodyClient(name, settings, onIdle);
      case 'new-connection':
        return new NewConnectionClient(name, settings, onIdle);
    }
  }
}

function settingsOf(
  kind: ClientKind,
  options: LoadOptions,
  tally: Tally,
  nowMs: () => number,
): ClientSettings {
  return {
    target: options.target,
    tls: options.tls,
    check: options.check ?? 'plain',
    template: prepareTemplate(kind, options.requests?.[kind] ?? {}, hostHeader(options.target)),
    thinkMs: options.thinkMs ?? 20,
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
    maxPipelined: options.maxPipelined ?? 4,
    tally,
    nowMs,
  };
}
