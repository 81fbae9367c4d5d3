/*
 * Replaces a generation by a new one of the same release, because it has grown too large or too old, or by a schedule: one
 * slot at a time, by the same restart that an operator asks for, and never during another one.
 */
import { Cron } from 'croner';
import type { Logger } from 'pino';
import { asMoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import { residentBytes, treeOf } from '../../os/processes/proc-tree.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { Backoff } from '../restart/backoff.js';
import type { RestartRequest } from '../restart/restart-service.js';
import type { Slot } from './slot.js';
import type { Slots } from './slots.js';

/** How often the generations are looked at, in milliseconds. */
const LOOK_MS = 500;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 10 * 60_000;
/** Part of `--max-age` by which generations differ, so that slots and hosts do not come due together. */
const AGE_SPREAD = 0.1;
/** A generation that was replaced sooner than so many probations after its start, and so many milliseconds, did not do well. */
const SOUND_PROBATIONS = 2;
const SOUND_MS = 5000;

/** A recycling that is over. */
export interface Recycled {
  readonly at: number;
  readonly slot?: number;
  /** The one that was replaced. */
  readonly generation: number;
  readonly reason: string;
}

/** What the recycler needs of the supervisor. */
export interface RecyclerParts {
  readonly slots: Pick<Slots, 'staying'>;
  readonly options: SupervisorOptions;
  readonly log: Logger;
  /** Whether something else is under way that a recycling must not meet. */
  isBusy(): boolean;
  /** Replaces the generation of this slot by a new one of the same release. @throws any code of a handover. */
  recycle(slot: Slot, reason: string): Promise<unknown>;
}

/** Whether a generation is due, and why. Pure. */
export function whyDue(
  one: { readonly memoryBytes: number; readonly ageMs: number; readonly spread: number },
  limits: Pick<SupervisorOptions, 'maxMemoryBytes' | 'maxAgeMs'>,
): string | undefined {
  const { maxMemoryBytes, maxAgeMs } = limits;
  if (maxMemoryBytes !== null && one.memoryBytes > maxMemoryBytes)
    return `it has ${megabytes(one.memoryBytes)} of memory, over --max-memory ${megabytes(maxMemoryBytes)}`;
  if (maxAgeMs !== null && one.ageMs >= maxAgeMs * (1 - AGE_SPREAD * one.spread))
    return `it is ${Math.round(one.ageMs / 1000)} s old (--max-age ${Math.round(maxAgeMs / 1000)} s, or up to a tenth earlier)`;
  return undefined;
}

/** Recycles generations. */
export class Recycler {
  readonly #parts: RecyclerParts;
  readonly #backoffs = new WeakMap<Slot, Backoff>();
  /** Not before this time of the monotonic clock. */
  readonly #notBeforeMs = new WeakMap<Slot, number>();
  readonly #spreads = new WeakMap<GenerationProcess, number>();
  readonly #waitsFor = new WeakSet<GenerationProcess>();
  #timer: NodeJS.Timeout | undefined;
  #pattern: string | null = null;
  #cron: Cron | undefined;
  /** When the schedule came last, and comes next; milliseconds since 1970. */
  #cameAt = 0;
  #comesAt: number | undefined;
  #last: Recycled | undefined;
  #isUnderWay = false;

  constructor(parts: RecyclerParts) {
    this.#parts = parts;
  }

  /** The last one that succeeded. */
  get last(): Recycled | undefined {
    return this.#last;
  }

  /** Looks from now on, without keeping the process alive. */
  start(): void {
    this.#timer ??= setInterval(() => {
      try {
        this.look();
      } catch (error) {
        this.#parts.log.error(`checking for generations to recycle failed: ${String(error)}`);
      }
    }, LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Recycles the first slot that is due, unless something is under way. */
  look(): void {
    const { slots, options, isBusy } = this.#parts;
    this.#followSchedule();
    const { maxMemoryBytes, maxAgeMs, recycleAt } = options;
    if (maxMemoryBytes === null && maxAgeMs === null && recycleAt === null) return;
    if (this.#isUnderWay || isBusy()) return;
    for (const slot of slots.staying) {
      const { current } = slot.generations;
      // One in its probation is young, and its predecessor waits for its end.
      if (current === undefined || slots.staying.some(isChanging)) continue;
      if (performance.now() < (this.#notBeforeMs.get(slot) ?? 0)) continue;
      const reason = this.#whyDue(current);
      if (reason === undefined || !this.#mayNow(slot, current)) continue;
      this.#recycle(slot, current, reason);
      return;
    }
  }

  #whyDue(one: GenerationProcess): string | undefined {
    const { options } = this.#parts;
    if (options.recycleAt !== null && this.#cameAt > one.startedAt)
      return `it is due by --recycle "${options.recycleAt}"`;
    const spread = this.#spreads.get(one) ?? Math.random();
    this.#spreads.set(one, spread);
    const memoryBytes = options.maxMemoryBytes === null ? 0 : memoryOf(one, options.isProgram);
    return whyDue({ memoryBytes, ageMs: wallClockMs() - one.startedAt, spread }, options);
  }

  // A release that is over its limit as soon as it serves is replaced later and later.
  #mayNow(slot: Slot, one: GenerationProcess): boolean {
    if (this.#waitsFor.has(one)) return true;
    this.#waitsFor.add(one);
    const waitMs = this.#backoff(slot).next(wallClockMs() - one.startedAt);
    if (waitMs === 0) return true;
    this.#notBeforeMs.set(slot, performance.now() + waitMs);
    this.#parts.log.warn(
      `generation ${one.number} is due for recycling so soon after its start that moult waits ${Math.round(waitMs / 1000)} s`,
    );
    return false;
  }

  #recycle(slot: Slot, one: GenerationProcess, reason: string): void {
    const { log, recycle } = this.#parts;
    this.#isUnderWay = true;
    log.info(`generation ${one.number} is recycled: ${reason}`);
    recycle(slot, reason)
      .then(() => {
        const place = slot.index === undefined ? {} : { slot: slot.index };
        this.#last = { at: wallClockMs(), ...place, generation: one.number, reason };
      })
      .catch((error) => {
        // Another restart that came first has done the same.
        const { code } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
        if (code === 'MOULT_RESTART_IN_PROGRESS') return;
        const waitMs = Math.max(FIRST_WAIT_MS, this.#backoff(slot).next(0));
        this.#notBeforeMs.set(slot, performance.now() + waitMs);
        log.warn(
          `generation ${one.number} could not be recycled (${code}); moult tries again in ${Math.round(waitMs / 1000)} s`,
        );
      })
      .finally(() => {
        this.#isUnderWay = false;
      });
  }

  #backoff(slot: Slot): Backoff {
    const soundMs = Math.max(SOUND_MS, SOUND_PROBATIONS * this.#parts.options.probationMs);
    const known = this.#backoffs.get(slot) ?? new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS, soundMs);
    this.#backoffs.set(slot, known);
    return known;
  }

  #followSchedule(): void {
    const { recycleAt } = this.#parts.options;
    const now = wallClockMs();
    if (this.#pattern !== recycleAt) {
      this.#pattern = recycleAt;
      this.#cron = recycleAt === null ? undefined : new Cron(recycleAt, { paused: true });
      this.#comesAt = this.#next(now);
    }
    if (this.#comesAt === undefined || now < this.#comesAt) return;
    this.#cameAt = this.#comesAt;
    this.#comesAt = this.#next(now);
  }

  #next(now: number): number | undefined {
    return this.#cron?.nextRun(new Date(now))?.getTime();
  }
}

function isChanging({ restarts, probation, crashRecovery, outgoingTakeover, generations }: Slot): boolean {
  return (
    restarts.isUnderWay ||
    probation.successor !== undefined ||
    crashRecovery.isWaiting ||
    outgoingTakeover.isUnderWay ||
    generations.starting() !== undefined
  );
}

function memoryOf({ pid, servicePid }: GenerationProcess, isProgram: boolean): number {
  if (!isProgram) return residentBytes(servicePid);
  return treeOf(pid).reduce((sum, one) => sum + residentBytes(one), 0);
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MB`;
}

/** What is asked of a recycling: it follows nothing, and what listens now is to listen again. */
export function recycling(because: string): RestartRequest {
  return {
    ifBusy: 'refuse',
    allowFewerListeners: false,
    untilConfirmed: false,
    whenQuiet: null,
    recycledBecause: because,
  };
}
