/** A stage of a restart, as reported to operators. */
export interface StageEvent {
  /** As in the JSON events of the command line. */
  readonly type: 'stage';
  /** Its name, such as `commit`; `docs/reference/events.md` has them all. */
  readonly stage: string;
  /** The generation that should take over. */
  readonly generation: number;
  /** Its slot, if the service has slots. */
  readonly slot?: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Milliseconds since the stage before. */
  readonly ms: number;
  /** Facts about the stage, such as the number of passed listeners. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The number of connections that stay with the predecessor for one reason. */
export interface RemainingConnections {
  /** Why they have not moved. */
  readonly reason: string;
  /** How many. */
  readonly connections: number;
}

/** How long moved connections were paused. */
export interface PauseCounts {
  /** The number of connections in each class of durations, the classes of `moult_connection_pause_seconds`. */
  readonly counts: readonly number[];
  /** The sum of all pauses, in milliseconds. */
  readonly sumMs: number;
}

/** The result of a successful restart. Times are in milliseconds. */
export interface RestartSummary {
  /** The generation that serves now. */
  readonly generation: number;
  /** The previous generation, or null if there was none. */
  readonly predecessor: number | null;
  /** The number of passed listeners. */
  readonly listeners: number;
  /** Names of listeners on which the successor does not listen; they close after its probation. */
  readonly closes?: readonly string[];
  /**
   * After a rollback to a release that was written over: paths of its files beside code, such as its configuration, that are not as they were
   * when it started and that moult cannot restore; at most 100. They may be data of the service.
   */
  readonly changedFiles?: readonly string[];
  /** The number of moved connections. */
  readonly moved: number;
  /** The number of connections that stay with the predecessor until they end. */
  readonly draining: number;
  /** Why these have not moved: at most 10 reasons, the most frequent first; absent if there are none. */
  readonly remaining?: readonly RemainingConnections[];
  /** The number of connections that were closed although they were not at rest. */
  readonly cut: number;
  /** The longest pause of a moved connection. */
  readonly longestPauseMs: number;
  /** The median of these pauses. */
  readonly pauseP50Ms: number;
  /** The 99th percentile of these pauses. */
  readonly pauseP99Ms: number;
  /** The distribution of these pauses; absent if no connection moved. */
  readonly pauses?: PauseCounts;
  /**
   * How long the successor remains in probation; if it fails within that time, its predecessor resumes.
   * Absent after that.
   */
  readonly watchedMs?: number;
  /** Time from the start of the successor's process until every connection at rest has moved. */
  readonly tookMs: number;
  /** The stages, in order. */
  readonly stages: readonly {
    /** Its name. */
    readonly stage: string;
    /** Milliseconds since the stage before. */
    readonly ms: number;
  }[];
  /** The number of connections that ended on the predecessor; only if the restart waited for that. */
  readonly drained?: number;
  /** The cut connections, at most 1,000; only if the restart waited for that. */
  readonly cutConnections?: readonly {
    /** The client's address. */
    readonly peer: string;
    /** Milliseconds since the process accepted or received it. */
    readonly ageMs: number;
    /** Why it could neither move nor end. */
    readonly reason: string;
  }[];
  /** Why HTTP/1.1 connections were drained instead of moved, if the self-test failed. */
  readonly drainedBecause?: string;
  /** The result of each slot, if the service has slots; the other fields then describe all slots together. */
  readonly slots?: readonly (RestartSummary & {
    /** Which one. */
    readonly slot: number;
  })[];
}

/** What is noted of one restart until it is settled. */
export class RestartRecord {
  readonly #successor: number;
  readonly #predecessor: number | null;
  readonly #startedMs: number;
  #lastMs: number;
  #stages: { stage: string; ms: number }[] = [];
  #facts: Record<string, unknown> = {};

  /** @param nowMs of the monotonic clock, as everywhere here. */
  constructor(successor: number, predecessor: number | null, nowMs: number) {
    this.#successor = successor;
    this.#predecessor = predecessor;
    this.#startedMs = nowMs;
    this.#lastMs = nowMs;
  }

  get lastStage(): string {
    return this.#stages.at(-1)?.stage ?? 'spawn';
  }

  /** Notes a stage. @param at milliseconds since 1970. @param counts whether it is part of the summary. */
  note(
    stage: string,
    facts: Record<string, unknown>,
    nowMs: number,
    at: number,
    counts: boolean,
  ): StageEvent {
    const ms = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (counts) {
      this.#stages.push({ stage, ms });
      Object.assign(this.#facts, facts);
    }
    return { type: 'stage', stage, generation: this.#successor, at, ms, facts };
  }

  summary(nowMs: number): RestartSummary {
    const number = (name: string) => Number(this.#facts[name] ?? 0);
    const { drainedBecause, closes, remaining, pauses } = this.#facts;
    return {
      generation: this.#successor,
      predecessor: this.#predecessor,
      listeners: number('listeners'),
      moved: number('moved'),
      draining: number('draining'),
      ...(Array.isArray(remaining) ? { remaining } : {}),
      cut: number('cut'),
      longestPauseMs: number('longestPauseMs'),
      pauseP50Ms: number('pauseP50Ms'),
      pauseP99Ms: number('pauseP99Ms'),
      ...(pauses === undefined ? {} : { pauses: pauses as PauseCounts }),
      tookMs: nowMs - this.#startedMs,
      stages: this.#stages,
      ...(Array.isArray(closes) ? { closes: closes.map(String) } : {}),
      ...(typeof drainedBecause === 'string' ? { drainedBecause } : {}),
    };
  }
}
