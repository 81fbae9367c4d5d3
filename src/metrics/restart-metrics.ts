import { errorTable } from '../errors.js';
import type { JournalEntry } from '../lifecycle/journal-entry.js';
import type { ClassedDurations } from '../protocol/durations.js';
import { remember } from './latest.js';
import type { MetricSet } from './metric-set.js';

const MS_IN_S = 1000;
/** The stages that `docs/reference/events.md` has; a newer generation may know others. */
const STAGES = [
  'spawn',
  'hello',
  'inherit',
  'ready',
  'check',
  'force',
  'commit',
  'connections',
  'look',
  'verify',
  'confirm',
];
const KINDS = ['restart', 'rollback', 'recycle'];
const CUT_KINDS = ['http1', 'http2', 'tls', 'websocket', 'proxied', 'other'];
const RESULTS = ['confirmed', 'failed', 'undone'] as const;
/** What an older, or a newer, generation may tell that is not known here. */
const OTHER = 'other';
/** How many restarts whose end is not known are remembered; the oldest are given up. */
const MAX_OPEN = 64;

type Result = (typeof RESULTS)[number];

/** Counts what happens to a service, as its journal tells it. */
export class RestartMetrics {
  readonly #set: MetricSet;
  /** The kinds of restarts that took over, and may still be undone, by the number of their successor. */
  readonly #open = new Map<number, string>();
  /** Ends that were told before the restart itself: its probation may be over while connections still move. */
  readonly #early = new Map<number, JournalEntry>();
  /** How many connections of a predecessor are counted as moved, by its number. */
  readonly #moved = new Map<number, number>();

  constructor(set: MetricSet) {
    this.#set = set;
    // Known from the start: of a series that begins with 1 a rate sees nothing.
    for (const result of RESULTS) for (const kind of KINDS) set.counter('restarts').inc({ kind, result }, 0);
    for (const reason of [...Object.keys(errorTable), OTHER])
      set.counter('restartFailures').inc({ reason }, 0);
    for (const kind of CUT_KINDS) set.counter('cut').inc({ kind }, 0);
    for (const key of ['moved', 'drained', 'crashes'] as const) set.counter(key).inc(0);
  }

  /** Counts one fact. */
  add(entry: JournalEntry): void {
    const { generation } = entry;
    if (entry.event === 'stage') this.#stage(entry);
    if (entry.event === 'restart' && entry.ok === true) this.#tookOver(entry);
    if (entry.event === 'restart' && entry.ok !== true) this.#ended(entry, kindOf(entry), 'failed');
    if (entry.event === 'drained') this.#drained(entry);
    if (generation !== undefined && (entry.event === 'confirmed' || entry.event === 'undone'))
      this.#overWith(generation, entry);
  }

  #overWith(generation: number, entry: JournalEntry): void {
    const kind = this.#open.get(generation);
    if (kind === undefined) {
      remember(this.#early, generation, entry, MAX_OPEN);
      return;
    }
    this.#open.delete(generation);
    this.#ended(entry, kind, entry.event === 'undone' ? 'undone' : 'confirmed');
  }

  #stage({ stage, ms, facts }: JournalEntry): void {
    const name = STAGES.includes(String(stage)) ? String(stage) : OTHER;
    const took = Number(ms);
    if (Number.isFinite(took)) this.#set.histogram('stageDuration').observe({ stage: name }, took / MS_IN_S);
    const { pauses } = (facts ?? {}) as { pauses?: ClassedDurations };
    if (pauses !== undefined) this.#set.classes('pause').add('', pauses.counts, pauses.sumMs);
  }

  #tookOver(entry: JournalEntry): void {
    const { generation, predecessor, moved, tookMs } = entry;
    this.#set.histogram('restartDuration').observe(Number(tookMs) / MS_IN_S);
    if (typeof predecessor === 'number') this.#move(predecessor, Number(moved ?? 0));
    if (generation === undefined) return;
    remember(this.#open, generation, kindOf(entry), MAX_OPEN);
    const early = this.#early.get(generation);
    if (early !== undefined) this.#overWith(generation, early);
  }

  #drained({ generation, moved, drained, cut }: JournalEntry): void {
    if (generation !== undefined) this.#move(generation, Number(moved ?? 0));
    this.#set.counter('drained').inc(Number(drained ?? 0));
    for (const { kind } of Array.isArray(cut) ? (cut as { kind?: unknown }[]) : [])
      this.#set.counter('cut').inc({ kind: CUT_KINDS.includes(String(kind)) ? String(kind) : OTHER });
  }

  // What has moved is told twice: when all that could at once has, and when the predecessor ends.
  #move(predecessor: number, moved: number): void {
    const known = this.#moved.get(predecessor) ?? 0;
    this.#set.counter('moved').inc(Math.max(0, moved - known));
    remember(this.#moved, predecessor, Math.max(moved, known), MAX_OPEN);
  }

  #ended({ at, code }: JournalEntry, kind: string, result: Result): void {
    const reason = Object.hasOwn(errorTable, String(code)) ? String(code) : OTHER;
    this.#set.counter('restarts').inc({ kind, result });
    if (result !== 'confirmed') this.#set.counter('restartFailures').inc({ reason });
    this.#set.gauge('lastRestart').set({ result }, at / MS_IN_S);
  }
}

function kindOf({ kind }: JournalEntry): string {
  return KINDS.includes(String(kind)) ? String(kind) : 'restart';
}
