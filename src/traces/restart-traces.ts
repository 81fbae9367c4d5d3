import type { Attributes, Span, SpanStatusCode, Tracer } from '@opentelemetry/api';
import type { JournalEntry } from '../lifecycle/journal-entry.js';

/** How many restarts whose end is not known are remembered; the oldest are ended as they are. */
const MAX_OPEN = 64;

/** What the tracer has of OpenTelemetry's API: the package is a peer, loaded by whoever makes these. */
export interface Tracing {
  readonly tracer: Tracer;
  /** The context in which the spans of one trace are started. */
  inside(span: Span): Parameters<Tracer['startSpan']>[2];
}

interface OpenRestart {
  readonly root: Span;
  /** Whether it was told that it took over, or that it is confirmed: which comes first depends on how long connections move. */
  hasTakenOver: boolean;
  isConfirmed: boolean;
  /** Where its last stage ended, and the next begins, in milliseconds since 1970. */
  stageAt: number;
  /** When the last was heard of it, in milliseconds since 1970. */
  lastAt: number;
}

/**
 * Makes one trace of each restart, with a span for each stage, from the lines of the journal. It ends with the restart's
 * probation; of one that failed with the failure.
 */
export class RestartTraces {
  readonly #tracing: Tracing;
  readonly #service: string;
  readonly #open = new Map<number, OpenRestart>();

  /** @param service its name. */
  constructor(tracing: Tracing, service: string) {
    this.#tracing = tracing;
    this.#service = service;
  }

  /** Something has happened. */
  add(entry: JournalEntry): void {
    const { event, generation, at } = entry;
    if (generation === undefined) return;
    if (event === 'stage') this.#stage(entry, generation);
    const open = this.#open.get(generation);
    if (event === 'restart') this.#settled(entry, generation, open);
    else if (open === undefined) return;
    else if (event === 'confirmed') this.#confirmed(generation, open, at);
    else if (event === 'undone') this.#failed(entry, generation, open);
  }

  /** Ends what has not ended. */
  close(): void {
    for (const [generation, open] of this.#open) this.#end(generation, open, {});
  }

  #stage({ at, ms, stage, facts, slot }: JournalEntry, generation: number): void {
    const known = this.#open.get(generation);
    const open =
      known ?? (stage === 'spawn' ? this.#begin(generation, at - Number(ms ?? 0), slot) : undefined);
    if (open === undefined) return;
    // Not `at - ms`: one is of the wall clock, in whole milliseconds, the other of the monotonic one.
    const beganAt = open.stageAt;
    open.stageAt = Math.max(at, beganAt);
    const { tracer, inside } = this.#tracing;
    const attributes = factsAsAttributes(facts);
    const span = tracer.startSpan(String(stage), { startTime: beganAt, attributes }, inside(open.root));
    span.end(open.stageAt);
    open.lastAt = Math.max(open.lastAt, open.stageAt);
    const { pid } = (facts ?? {}) as { pid?: unknown };
    // That of `hello` is the service's own, which may be below a wrapper.
    if (typeof pid === 'number') open.root.setAttribute('process.pid', pid);
  }

  #begin(generation: number, startTime: number, slot: number | undefined): OpenRestart {
    const root = this.#tracing.tracer.startSpan('restart', {
      root: true,
      startTime,
      attributes: {
        'deployment.id': String(generation),
        'service.instance.id': `${this.#service}-${generation}`,
        'moult.generation': generation,
        ...(slot === undefined ? {} : { 'moult.slot': slot }),
      },
    });
    const open = { root, stageAt: startTime, lastAt: startTime, hasTakenOver: false, isConfirmed: false };
    this.#open.set(generation, open);
    const [oldest] = this.#open;
    if (this.#open.size > MAX_OPEN && oldest !== undefined) this.#end(...oldest, {});
    return open;
  }

  #settled(entry: JournalEntry, generation: number, known: OpenRestart | undefined): void {
    // One that was refused before it began has no stage.
    const open = known ?? this.#begin(generation, entry.at, entry.slot);
    const { kind, release, predecessor, moved, draining, listeners } = entry;
    open.root.setAttributes(
      withoutUndefined({
        'moult.kind': kind,
        'deployment.name': release,
        'moult.predecessor': predecessor ?? undefined,
        'moult.connections.moved': moved,
        'moult.connections.draining': draining,
        'moult.listeners': listeners,
      }),
    );
    open.lastAt = Math.max(entry.at, open.lastAt);
    open.hasTakenOver = true;
    if (entry.ok !== true) this.#failed(entry, generation, open);
    else this.#endWhenOver(generation, open);
  }

  // The stage that it ends with is told behind it, in the same turn.
  #confirmed(generation: number, open: OpenRestart, at: number): void {
    open.lastAt = Math.max(at, open.lastAt);
    open.root.setAttribute('deployment.status', 'succeeded');
    open.isConfirmed = true;
    this.#endWhenOver(generation, open);
  }

  #endWhenOver(generation: number, open: OpenRestart): void {
    setImmediate(() => {
      const isOver = open.hasTakenOver && open.isConfirmed;
      if (isOver && this.#open.get(generation) === open) this.#end(generation, open, {});
    });
  }

  #failed({ at, code, message, stage }: JournalEntry, generation: number, open: OpenRestart): void {
    open.root.setStatus({ code: SPAN_ERROR, message: String(message ?? '') });
    const attributes = { 'deployment.status': 'failed', 'error.type': code, 'moult.failed_stage': stage };
    open.lastAt = Math.max(at, open.lastAt);
    this.#end(generation, open, withoutUndefined(attributes));
  }

  #end(generation: number, { root, lastAt }: OpenRestart, attributes: Attributes): void {
    this.#open.delete(generation);
    root.setAttributes(attributes);
    root.end(lastAt);
  }
}

// The value, and not the enum: nothing of the package is loaded from here.
const SPAN_ERROR: SpanStatusCode.ERROR = 2;

function factsAsAttributes(facts: unknown): Attributes {
  return withoutUndefined(
    Object.fromEntries(Object.entries(facts ?? {}).map(([name, value]) => [`moult.${name}`, value])),
  );
}

/** What of these can be an attribute. */
function withoutUndefined(values: Readonly<Record<string, unknown>>): Attributes {
  const known: Attributes = {};
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === 'string' || typeof value === 'boolean') known[name] = value;
    else if (typeof value === 'number' && Number.isFinite(value)) known[name] = value;
    else if (Array.isArray(value) && value.every((one) => typeof one === 'string')) known[name] = value;
  }
  return known;
}
