/*
 * Over 300 lines: a roll and its undo decide on the same list of slots. Each slot restarts as a service without slots does, by a full
 * handover with its own predecessor; here is decided which one is next, and what becomes of those that are done when one fails.
 */
import type { Logger } from 'pino';
import { asMoultError, MoultError, type Serving } from '../../errors.js';
import type { RestartSummary, StageEvent } from '../../lifecycle/restart-record.js';
import { rollSummary, type SlotSummary } from '../../lifecycle/roll-summary.js';
import { monotonicMs } from '../../os/clock.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { Release } from '../releases/release.js';
import { changedUnder } from '../releases/release-files.js';
import { tellChanged } from '../restart/restart-outcome.js';
import { RestartQueue } from '../restart/restart-queue.js';
import type { RestartRequest, Watcher } from '../restart/restart-service.js';
import type { ServiceSettings, SettingsChange } from '../service-settings.js';
import type { Shutdown } from '../serving/shutdown.js';
import { recycling } from './recycler.js';
import { type Failed, failedSince, isStill, type Replaced, RollProbation } from './roll-probation.js';
import type { Scaled, ScaledTo, Scaling } from './scaling.js';
import type { Slot } from './slot.js';
import type { Slots } from './slots.js';

/** What an operator may ask of a roll besides what a restart takes. */
export interface RollRequest extends RestartRequest {
  /** How many slots are replaced at once, after the first, which goes alone. */
  readonly surge: number;
  /** What becomes of the slots that were replaced when a later one fails. */
  readonly onFailure: 'undo' | 'keep';
}

/** Which generations serve after a rollback. */
export interface RolledBack {
  readonly generation: number;
  readonly how: 'resumed' | 'restarted';
  /** Files of its release that are not as they were when it started; they may be data of the service. */
  readonly changedFiles?: readonly string[];
}

interface RollingRestartParts {
  readonly slots: Slots;
  readonly scaling: Scaling;
  readonly look: Pick<OutsideLook, 'at' | 'anew'>;
  readonly shutdown: Pick<Shutdown, 'hasBegun' | 'assertNotBegun'>;
  readonly settings: Pick<ServiceSettings, 'renew' | 'options' | 'keepSlots'>;
  readonly log: Logger;
}

/** One that this roll has replaced. */
type Rolled = Replaced & { readonly summary: SlotSummary };

type Work =
  | { readonly kind: 'restart'; readonly request: RollRequest }
  | { readonly kind: 'scale'; readonly to: number; readonly dropState: boolean }
  | { readonly kind: 'rollback'; readonly allowFewerListeners: boolean }
  | { readonly kind: 'recycle'; readonly slot: Slot; readonly because: string }
  | { readonly kind: 'undo'; readonly replaced: readonly Replaced[]; readonly why: string };

/** The restarts, undoings and changes of number of several slots, one at a time. */
export class RollingRestart {
  readonly #parts: RollingRestartParts;
  readonly #queue: RestartQueue<Work, object>;
  readonly #watchers = new Set<Watcher>();
  /** Of the last roll. */
  #probation: RollProbation | undefined;
  /** The slots that have come with a roll, because its release has more. */
  readonly #grown = new WeakMap<RestartSummary, ScaledTo['started']>();

  constructor(parts: RollingRestartParts) {
    this.#parts = parts;
    const none = { isUnderWay: () => false, over: () => Promise.resolve() };
    this.#queue = new RestartQueue(none, (work) => this.#do(work));
  }

  /** Whether something is under way. */
  get isUnderWay(): boolean {
    return this.#queue.isRunning;
  }

  /**
   * Replaces every slot by what the command's paths hold now: one first, then so many at once as asked.
   * @returns when each has been taken over.
   * @throws the reason of the first slot that failed; `details.slots` tells of each.
   */
  async restart(request: RollRequest, watch: Watcher): Promise<RestartSummary> {
    const { untilConfirmed, ...asked } = request;
    const work = { kind: 'restart', request: { ...asked, untilConfirmed: false } } as const;
    const summary = (await this.#watched(watch, request.ifBusy, work)) as RestartSummary;
    if (untilConfirmed) await this.#confirmed(summary);
    return summary;
  }

  /** Changes the number of slots. @returns when those that are to end have ended, or those that are new serve. */
  async scale(to: number, dropState: boolean): Promise<Scaled> {
    return (await this.#queue.enqueue('wait', { kind: 'scale', to, dropState })) as Scaled;
  }

  /** Gives every slot back to the release before. @throws MOULT_NOTHING_TO_ROLL_BACK, or any code of a handover. */
  async rollback(watch: Watcher, allowFewerListeners: boolean): Promise<RolledBack> {
    return (await this.#watched(watch, 'wait', { kind: 'rollback', allowFewerListeners })) as RolledBack;
  }

  /** Replaces the generation of one slot by a new one of the same release. @throws MOULT_RESTART_IN_PROGRESS where something else is under way; any code of a handover. */
  async recycle(slot: Slot, because: string, watch: Watcher): Promise<RestartSummary> {
    return (await this.#watched(watch, 'refuse', { kind: 'recycle', slot, because })) as RestartSummary;
  }

  async #watched(watch: Watcher, ifBusy: 'wait' | 'refuse', work: Work): Promise<object> {
    this.#watchers.add(watch);
    try {
      return await this.#queue.enqueue(ifBusy, work);
    } finally {
      this.#watchers.delete(watch);
    }
  }

  async #do(work: Work): Promise<object> {
    // It may have waited for another one while the end of the service began.
    this.#parts.shutdown.assertNotBegun();
    switch (work.kind) {
      case 'restart':
        return this.#roll(work.request);
      case 'scale':
        return this.#scale(work.to, work.dropState).then(({ started: _, ...scaled }) => scaled);
      case 'rollback':
        return this.#rollBack(work.allowFewerListeners);
      case 'recycle':
        return this.#recycle(work.slot, work.because);
      case 'undo':
        return this.#undo(work.replaced, work.why).then(() => ({}));
    }
  }

  async #roll(request: RollRequest): Promise<RestartSummary> {
    const { slots, settings, log } = this.#parts;
    const before = settings.options.slots;
    // The same for all: what the paths hold may change while they are replaced.
    const change = await settings.renew();
    const { release } = change;
    const count = settings.options.slots;
    if (count !== null && count !== before) await this.#assertKeepsState(count, change);
    const beganMs = monotonicMs();
    const waiting = [...slots.staying];
    const replaced: Rolled[] = [];
    while (waiting.length > 0) {
      const next = waiting.splice(0, replaced.length === 0 ? 1 : request.surge);
      const outcomes = await Promise.allSettled(next.map((slot) => this.#replace(slot, request, release)));
      for (const one of outcomes) if (one.status === 'fulfilled') replaced.push(one.value);
      const failure = outcomes.find((one) => one.status === 'rejected');
      if (failure !== undefined) {
        const failed = next.filter((_, i) => outcomes[i]?.status === 'rejected');
        const error = asMoultError(failure.reason, 'MOULT_HANDOVER_ABORTED');
        throw await this.#stopped(error, { replaced, failed, waiting, request, change });
      }
      // Meanwhile one that was replaced before may have failed in its probation.
      const unseen = waiting.length === 0 ? await this.#lookAnew(replaced) : undefined;
      const later = unseen ?? failedSince(replaced);
      if (later === undefined) continue;
      const others = replaced.filter(({ slot }) => slot !== later.slot);
      const stopped = { replaced: others, failed: [later.slot], waiting, request, change };
      throw await this.#stopped(later.error, stopped);
    }
    const summary = rollSummary(
      replaced.map((one) => one.summary),
      monotonicMs() - beganMs,
    );
    log.info(`${replaced.length} slots were replaced in ${Math.round(summary.tookMs)} ms`);
    this.#probation = request.onFailure === 'undo' ? this.#watchProbation(replaced, change) : undefined;
    // A number that was changed by hand stays until the file has another one.
    if (count !== null && count !== before) this.#grown.set(summary, await this.#scaleTo(count, before));
    return summary;
  }

  // The first ones were looked at when the roll began.
  async #lookAnew(replaced: readonly Replaced[]): Promise<Failed | undefined> {
    for (const one of replaced) {
      const { slot } = one;
      const { current } = slot.generations;
      if (current === undefined || !isStill(one)) continue;
      try {
        await this.#parts.look.anew(current);
      } catch (cause) {
        const error = asMoultError(cause, 'MOULT_NOT_REACHED');
        slot.probation.fail(current, error);
        return { slot, error };
      }
    }
    return undefined;
  }

  // All slots run the new release by now: where that one has something that no other slot takes, only the number stays.
  async #scaleTo(count: number, before: number | null): Promise<ScaledTo['started']> {
    const { settings, log } = this.#parts;
    try {
      return (await this.#scale(count, false)).started;
    } catch (error) {
      const { code, message } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
      if (code !== 'MOULT_STATE_LOST') throw error;
      settings.keepSlots(before);
      log.warn(
        `the slots were replaced, but their number stays ${this.#parts.slots.staying.length}: ${message}; the next restart tries again, and moult scale ${count} --drop-state ends them all the same`,
      );
      return [];
    }
  }

  // Before anything is replaced: what a slot that is to end has no other slot takes.
  async #assertKeepsState(count: number, change: SettingsChange): Promise<void> {
    try {
      await this.#parts.scaling.assertKeepsState(count);
    } catch (error) {
      change.revert();
      throw error;
    }
  }

  async #replace(slot: Slot, request: RestartRequest, release: Release): Promise<Rolled> {
    const before = slot.generations.current?.release ?? slot.releases.lastGood();
    const index = slot.index ?? 0;
    const asked = { ...request, ifBusy: 'wait', untilConfirmed: false } as const;
    const summary = await slot.restarts.restart(asked, this.#tell(slot), release);
    return { slot, before, summary: { ...summary, slot: index } };
  }

  async #stopped(
    error: MoultError,
    roll: {
      readonly replaced: readonly Replaced[];
      readonly failed: readonly Slot[];
      readonly waiting: readonly Slot[];
      readonly request: RollRequest;
      readonly change: SettingsChange;
    },
  ): Promise<MoultError> {
    const { replaced, failed, waiting, request, change } = roll;
    const names = failed.map(({ index }) => index).join(', ');
    const isUndone = request.onFailure === 'undo';
    const undone = isUndone ? await this.#undo(replaced, `slot ${names} failed`) : [];
    const kept = replaced.filter(({ slot }) => !undone.includes(slot));
    if (kept.length === 0) change.revert();
    const details = {
      ...error.details,
      slots: [
        ...failed.map((slot) => ({ slot: slot.index, result: 'failed' })),
        ...replaced.map(({ slot }) => ({
          slot: slot.index,
          result: kept.some((one) => one.slot === slot) ? 'kept' : 'undone',
        })),
        ...waiting.map((slot) => ({ slot: slot.index, result: 'unchanged' })),
      ],
    };
    const became =
      replaced.length === 0
        ? 'no other slot was replaced'
        : `${undone.length} were undone, ${kept.length} kept`;
    const serving: Serving = kept.length > 0 ? 'both' : error.serving;
    return new MoultError(error.code, `slot ${names}: ${error.message}; the roll stopped: ${became}`, {
      serving,
      details,
      cause: error,
      ...(error.stage === undefined ? {} : { stage: error.stage }),
    });
  }

  /** @returns those that have what they had before; of the others the log tells. */
  async #undo(replaced: readonly Replaced[], why: string): Promise<Slot[]> {
    const { shutdown, log } = this.#parts;
    const undone: Slot[] = [];
    for (const one of [...replaced].reverse()) {
      if (shutdown.hasBegun) break;
      try {
        await this.#bringBack(one);
        undone.push(one.slot);
      } catch (error) {
        log.error(`slot ${one.slot.index} keeps generation ${one.summary.generation}: ${String(error)}`);
      }
    }
    if (undone.length > 0) {
      const names = undone.map(({ index }) => index).join(', ');
      log.error(`${why}: slots ${names} run their previous release`);
    }
    return undone;
  }

  async #bringBack({ slot, before, summary }: Replaced): Promise<void> {
    const { generations, probation } = slot;
    if (probation.successor?.number === summary.generation) await probation.takeBack();
    const { current } = generations;
    // It has gone back by itself, or has just been given back.
    if (current !== undefined && current.number !== summary.generation && current.release === before) return;
    if (before === undefined) throw new MoultError('MOULT_NOTHING_TO_ROLL_BACK', 'nothing ran there before');
    await this.#restartWith(slot, before);
  }

  #restartWith(slot: Slot, release: Release, allowFewerListeners = false): Promise<RestartSummary> {
    const request = {
      ifBusy: 'wait',
      allowFewerListeners,
      untilConfirmed: false,
      whenQuiet: null,
      isRollback: true,
    } as const;
    return slot.restarts.restart(request, this.#tell(slot), release);
  }

  #watchProbation(replaced: readonly Replaced[], change: SettingsChange): RollProbation {
    const probation = new RollProbation((others, why) => {
      change.revert();
      const undone = this.#queue.enqueue('wait', { kind: 'undo', replaced: others, why }).catch(() => {});
      // What comes after that has nothing to do with this roll any more.
      undone.then(() => {
        if (this.#probation === probation) this.#probation = undefined;
      });
    });
    for (const one of replaced) probation.watch(one);
    return probation;
  }

  async #scale(to: number, dropState: boolean): Promise<ScaledTo> {
    const scaled = await this.#parts.scaling.to(to, dropState);
    // What serves may be in its probation, and is undone with all slots that have it.
    for (const { slot, generation } of scaled.started) {
      if (generation.isProved || this.#probation?.isOver !== false) continue;
      const before = slot.releases.lastGood();
      this.#probation.watch({ slot, before, summary: { generation: generation.number } });
    }
    return scaled;
  }

  #recycle(slot: Slot, because: string): Promise<RestartSummary> {
    return slot.restarts.restart(recycling(because), this.#tell(slot), slot.generations.current?.release);
  }

  async #confirmed(summary: RestartSummary): Promise<void> {
    const { slots = [] } = summary;
    const { staying } = this.#parts.slots;
    const grown = this.#grown.get(summary) ?? [];
    const of = (index: number) => staying.find((slot) => slot.index === index);
    await Promise.all([
      ...slots.map(({ slot, generation }) => of(slot)?.probation.watched(generation)),
      ...grown.map(({ slot, generation }) => slot.probation.watched(generation.number)),
    ]);
  }

  async #rollBack(allowFewerListeners: boolean): Promise<RolledBack> {
    const { staying } = this.#parts.slots;
    const release = staying.map(releaseBefore).find((one) => one !== undefined);
    if (release === undefined) {
      throw new MoultError(
        'MOULT_NOTHING_TO_ROLL_BACK',
        'no earlier release has completed its probation here',
      );
    }
    let how: RolledBack['how'] = 'resumed';
    let generation = 0;
    let changedFiles: readonly string[] = [];
    for (const slot of staying) {
      const { probation, generations } = slot;
      const later = probation.successor?.release;
      if (probation.predecessor?.release === release) {
        await probation.takeBack();
        changedFiles = await changedUnder(release, later);
      }
      const { current } = generations;
      if (current?.release === release) await this.#parts.look.at(current);
      else {
        const summary = await this.#restartWith(slot, release, allowFewerListeners);
        changedFiles = summary.changedFiles ?? changedFiles;
        how = 'restarted';
      }
      generation = Math.max(generation, generations.current?.number ?? 0);
    }
    if (how === 'resumed') tellChanged(this.#parts.log, generation, changedFiles);
    return { generation, how, ...(changedFiles.length > 0 ? { changedFiles } : {}) };
  }

  #tell(slot: Slot): Watcher {
    return (event: StageEvent) => {
      const told = slot.index === undefined ? event : { ...event, slot: slot.index };
      for (const watch of this.#watchers) watch(told);
    };
  }
}

function releaseBefore({ probation, releases }: Slot): Release | undefined {
  return probation.predecessor?.isReachable ? probation.predecessor.release : releases.before();
}
