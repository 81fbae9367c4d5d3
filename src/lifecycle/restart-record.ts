/** One thing that happened in a restart, as operators are told. */
export interface StageEvent {
  /** As in the JSON events of the command line. */
  readonly type: 'stage';
  /** Its name, such as `commit`; `docs/reference/events.md` has them all. */
  readonly stage: string;
  /** The generation that is to take over. */
  readonly generation: number;
  /** The slot that it is to have, where the service has several. */
  readonly slot?: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Milliseconds since the stage before. */
  readonly ms: number;
  /** What is known by then, such as how many listeners were passed. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Connections that stay with the predecessor for one reason. */
export interface RemainingConnections {
  /** Why they have not moved. */
  readonly reason: string;
  /** How many. */
  readonly connections: number;
}

/** How many connections were in nobody's hands for how long. */
export interface PauseCounts {
  /** For each class of durations how many; `docs/reference/metrics.md` has the classes. */
  readonly counts: readonly number[];
  /** All of them together, in milliseconds. */
  readonly sumMs: number;
}

/** How a restart ended, when it ended well. Times in milliseconds. */
export interface RestartSummary {
  /** The generation that serves now. */
  readonly generation: number;
  /** The one before, or null where there was none. */
  readonly predecessor: number | null;
  /** Listeners that were passed. */
  readonly listeners: number;
  /** Names of listeners that the successor does not listen on: they close after its probation. */
  readonly closes?: readonly string[];
  /** Connections that moved. */
  readonly moved: number;
  /** Connections that stay with the predecessor until they end. */
  readonly draining: number;
  /** Why these have not moved, the most frequent of at most 10 reasons first; only where there are any. */
  readonly remaining?: readonly RemainingConnections[];
  /** Connections that were closed although they were not at rest. */
  readonly cut: number;
  /** How long moved connections were in nobody's hands. */
  readonly longestPauseMs: number;
  /** Of these pauses, the median. */
  readonly pauseP50Ms: number;
  /** Of these pauses, the 99th percentile. */
  readonly pauseP99Ms: number;
  /** How many of them lasted how long; only where any did. */
  readonly pauses?: PauseCounts;
  /** How long the successor is still watched: should it fail within that time, its predecessor resumes. Absent when it is not watched any more. */
  readonly watchedMs?: number;
  /** From the start of the successor's process until all that can move has moved. */
  readonly tookMs: number;
  /** What the time was spent on, in order. */
  readonly stages: readonly {
    /** Its name. */
    readonly stage: string;
    /** Milliseconds since the stage before. */
    readonly ms: number;
  }[];
  /** Connections that came to their end with the predecessor; only where the restart waited for that. */
  readonly drained?: number;
  /** Those that were cut, at most 1,000 of them; only where the restart waited for that. */
  readonly cutConnections?: readonly {
    /** The client's address. */
    readonly peer: string;
    /** Milliseconds since the process accepted it, or got it. */
    readonly ageMs: number;
    /** Why it could neither move nor end. */
    readonly reason: string;
  }[];
  /** Why HTTP/1.1 connections were drained instead of moved, where the self-test failed. */
  readonly drainedBecause?: string;
  /** How each slot was replaced, where the service has several; the other fields then tell of all together. */
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
