/**
 * For a program's own tests: drives the program as moult would.
 * @module moult/testing
 */

import { MoultError } from '../errors.js';
import { type Broadcast, broadcastBetween, ownHub } from '../library/broadcast.js';
import { Declarations } from '../library/declarations.js';
import { DeclaringService } from '../library/declaring-service.js';
import { ownTasks } from '../library/own-tasks.js';
import type { Service, ServiceMode } from '../library/service-interface.js';
import type { RestartSummary } from '../lifecycle/restart-record.js';
import type { EndReport } from '../service/life-events.js';
import { StateEntries } from '../state/state-entries.js';
import { Deferred } from './deferred.js';

/** Options of a stand-in. */
export interface StandInOptions {
  /** Default `supervised`. */
  readonly mode?: ServiceMode;
  /** The reason, in the mode `plain`; default undefined. */
  readonly reason?: string;
  /** Default 1. */
  readonly generation?: number;
  /** Descriptors passed by a predecessor, by name; default none. */
  readonly files?: Readonly<Record<string, number>>;
}

/** The phase of the generation's life. */
export type StandInPhase = 'starting' | 'serving' | 'yielded' | 'draining' | 'ended' | 'aborted';

const NOTHING_LEFT: EndReport = { moved: 0, drained: 0, cut: [] };

/**
 * Creates a stand-in for the service, to pass to a program in its own tests.
 *
 * ```js
 * const service = standIn();
 * startApp(service);
 * await service.serve();
 * await service.yield();
 * service.drain();
 * await service.end();
 * ```
 * @returns a stand-in in the state `starting`.
 */
export function standIn(options?: StandInOptions): StandIn {
  return new StandIn(options);
}

/**
 * A {@link Service} that a test drives: it has every member of the real one, but starts, passes and stops
 * nothing. It emits events in the order of the real one; a step that the real one could not take throws
 * MOULT_PROTOCOL_ORDER.
 */
export class StandIn extends DeclaringService implements Service {
  readonly mode: ServiceMode;
  readonly reason: string | undefined;
  readonly generation: number;
  readonly #end = new AbortController();
  readonly #files: Map<string, number>;
  readonly #tasks = ownTasks();
  protected readonly declarations = new Declarations(new StateEntries(), this.#tasks);
  readonly #hub = ownHub();
  readonly #said = new Deferred<void>();
  readonly #accepts = new Deferred<void>();
  #phase: StandInPhase = 'starting';
  #beforeEnd: (() => unknown)[] = [];
  #asked: Deferred<RestartSummary>[] = [];
  #critical = 0;
  #quiet = new Deferred<void>();

  /** Called by {@link standIn}, with its options. */
  constructor({ mode = 'supervised', reason, generation = 1, files = {} }: StandInOptions = {}) {
    super();
    this.mode = mode;
    this.reason = reason;
    this.generation = generation;
    this.#files = new Map(Object.entries(files));
  }

  /** The current phase. */
  get phase(): StandInPhase {
    return this.#phase;
  }

  /** The number of restarts that the program has requested and that have not ended. */
  get restartsAsked(): number {
    return this.#asked.length;
  }

  /** Whether a critical section is running. */
  get isCritical(): boolean {
    return this.#critical > 0;
  }

  /**
   * Waits until the program is ready, then lets it accept: emits `serve`.
   * @throws the error with which the program's `ready()` rejects, such as MOULT_CHECK_FAILED.
   */
  async serve(): Promise<void> {
    await this.#said.promise;
    if (this.#phase === 'serving' && this.mode === 'plain') return;
    this.#step('serve', ['starting'], 'serving');
    this.#tasks.begin(this.generation);
    this.emit('serve', { resumed: false });
    this.#accepts.resolve();
  }

  /** Cancels the handover to this generation: emits `aborted`, and `ready()` rejects. The program must exit. */
  abort(
    error = new MoultError('MOULT_HANDOVER_ABORTED', 'a test ended the handover', { serving: 'predecessor' }),
  ): void {
    this.#step('abort', ['starting'], 'aborted');
    this.emit('aborted', error);
    this.#accepts.reject(error);
    this.#said.reject(error);
  }

  /**
   * Lets a successor take over, once no critical section is running: emits `yield`. The oldest restart that
   * the program has requested succeeds; later ones fail.
   */
  async yield(): Promise<void> {
    this.#expect('yield', ['serving']);
    while (this.isCritical) await this.#quiet.promise;
    this.#step('yield', ['serving'], 'yielded');
    this.#tasks.end(0);
    const successor = this.generation + 1;
    this.emit('yield', { successor });
    const [first, ...others] = this.#asked.splice(0);
    first?.resolve(summaryOf(successor));
    for (const one of others) one.reject(this.#notServing());
  }

  /** Lets the successor fail: emits `failed`, and, if it had already taken over, `serve` with `resumed: true`. */
  fail(
    error = new MoultError('MOULT_SUCCESSOR_EXITED', 'a test ended the successor', {
      serving: 'predecessor',
    }),
  ): void {
    const hadYielded = this.#phase === 'yielded';
    this.#step('fail', ['serving', 'yielded'], 'serving');
    if (hadYielded) this.#tasks.begin(this.generation);
    this.emit('failed', error);
    if (hadYielded) this.emit('serve', { resumed: true });
    else this.#asked.shift()?.reject(error);
  }

  /** A stop was requested, and the service keeps serving for this time: emits `stopping`. Call {@link StandIn.drain} after it. */
  stopping(delayMs = 10_000): void {
    this.#expect('stopping', ['serving']);
    this.emit('stopping', { delayMs });
  }

  /** Ends the time in which it can accept again: aborts the signal, then emits `drain`. */
  drain(): void {
    this.#step('drain', ['starting', 'serving', 'yielded'], 'draining');
    this.#tasks.end(0);
    this.#end.abort();
    this.emit('drain');
    for (const one of this.#asked.splice(0)) one.reject(this.#notServing());
  }

  /**
   * Ends the generation: emits `end`, then runs the work that the program has added with `beforeEnd()`. Sends
   * no signal.
   * @returns when that is done.
   */
  async end(report: EndReport = NOTHING_LEFT): Promise<void> {
    this.#step('end', ['draining'], 'ended');
    this.emit('end', report);
    await Promise.allSettled([this.#tasks.close(), ...this.#beforeEnd.map(async (work) => work())]);
  }

  get isServing(): boolean {
    return this.#phase === 'serving';
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  file(name: string, open: () => number): number {
    const fd = this.#files.get(name) ?? open();
    this.#files.set(name, fd);
    return fd;
  }

  broadcast<T>(name: string, receive: (message: T) => void): Broadcast<T> {
    return broadcastBetween(name, receive, this.#hub);
  }

  async ready(): Promise<void> {
    await this.makeChecks(() => undefined).catch((error: MoultError) => {
      this.#said.reject(error);
      throw error;
    });
    this.#said.resolve();
    if (this.mode === 'plain') await this.serve();
    return this.#accepts.promise;
  }

  restart(): Promise<RestartSummary> {
    if (this.mode === 'plain') {
      const why = `this service cannot restart itself: ${this.reason}`;
      return Promise.reject(new MoultError('MOULT_UNSUPPORTED_PLATFORM', why));
    }
    if (!this.isServing) return Promise.reject(this.#notServing());
    const asked = new Deferred<RestartSummary>();
    this.#asked.push(asked);
    return asked.promise;
  }

  async critical<T>(work: () => T | Promise<T>): Promise<T> {
    this.#critical += 1;
    try {
      return await work();
    } finally {
      this.#critical -= 1;
      if (this.#critical === 0) {
        this.#quiet.resolve();
        this.#quiet = new Deferred();
      }
    }
  }

  beforeEnd(work: () => unknown): this {
    this.#beforeEnd.push(work);
    return this;
  }

  stop(): void {
    if (['starting', 'serving', 'yielded'].includes(this.#phase)) this.drain();
  }

  #step(what: string, from: readonly StandInPhase[], to: StandInPhase): void {
    this.#expect(what, from);
    this.#phase = to;
  }

  #expect(what: string, from: readonly StandInPhase[]): void {
    const isPossible = this.mode !== 'plain' || !['yield', 'fail', 'abort'].includes(what);
    if (isPossible && from.includes(this.#phase)) return;
    const now = isPossible ? this.#phase : 'plain, and has no other generations';
    const told = `${what}: expected a service that is ${from.join(' or ')}, this one is ${now}`;
    throw new MoultError('MOULT_PROTOCOL_ORDER', told);
  }

  #notServing(): MoultError {
    return new MoultError('MOULT_NOT_SERVING', `generation ${this.generation} is ${this.#phase}`);
  }
}

function summaryOf(generation: number): RestartSummary {
  return {
    generation,
    predecessor: generation - 1,
    listeners: 0,
    moved: 0,
    draining: 0,
    cut: 0,
    longestPauseMs: 0,
    pauseP50Ms: 0,
    pauseP99Ms: 0,
    tookMs: 0,
    stages: [],
  };
}
