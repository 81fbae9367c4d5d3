/*
 * Over 300 lines: every way in which a restart begins and ends meets here, so that there is never more than one.
 */
import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import type { RestartSummary, StageEvent } from '../../lifecycle/restart-record.js';
import { wallClockMs } from '../../os/clock.js';
import type { Settings } from '../../protocol/messages.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { UnseenWatch } from '../reachability/unseen-watch.js';
import type { KeptReleases } from '../releases/kept-releases.js';
import type { Release } from '../releases/release.js';
import { changesBeside } from '../releases/release-files.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import type { ServiceSettings, SettingsChange } from '../service-settings.js';
import { assertPasses, expectSuccessor } from './ask-predecessor.js';
import type { CrashRecovery } from './crash-recovery.js';
import { endBefore, withReturn } from './exclusive-changeover.js';
import { checkBudgetMs } from './health-check.js';
import { OtherChanges } from './other-changes.js';
import { owedAfter } from './owed-listeners.js';
import { admit, type QuietRequest } from './preconditions.js';
import type { Probation } from './probation.js';
import { RestartAttempt } from './restart-attempt.js';
import { noteFailure, noteSuccess } from './restart-outcome.js';
import { RestartQueue } from './restart-queue.js';

const STATE_TIMEOUT_MS = 1000;

/** What an operator may ask of a restart. */
export interface RestartRequest {
  readonly ifBusy: 'wait' | 'refuse';
  readonly allowFewerListeners: boolean;
  /** Settle only at the end of probation. */
  readonly untilConfirmed: boolean;
  readonly untilDrained?: boolean | undefined;
  readonly whenQuiet: QuietRequest | null;
  /** Whether a predecessor that does not answer is ended once the successor is ready. */
  readonly force?: boolean | undefined;
  /** Whether it is to go back to what served before. */
  readonly isRollback?: boolean;
  /** Why the same release is started anew, where no operator asked for it. */
  readonly recycledBecause?: string;
}

/** What tells one restart from another. */
interface Asked {
  readonly allowFewerListeners: boolean;
  readonly whenQuiet: QuietRequest | null;
  readonly ifBusy: 'wait' | 'refuse';
  readonly force: boolean;
  readonly isRollback: boolean;
  readonly recycledBecause: string | undefined;
  /** The release to start; undefined for what the command's paths hold at that time. */
  readonly release: Release | undefined;
}

/** Has a successor checked for what moult does not see of it. */
interface Guard {
  readonly of: (successor: GenerationProcess) => void;
  /** Whether there is something before commit, for which a predecessor waits; else it is looked at the end of probation. */
  readonly isNow: boolean;
}

/** Is told what happens in restarts. */
export type Watcher = (event: StageEvent) => void;

/** What a restart is made of. */
export interface RestartServiceParts {
  readonly generations: Generations;
  readonly probation: Probation;
  readonly releases: ReleaseHistory;
  readonly kept: KeptReleases;
  readonly crashRecovery: CrashRecovery;
  readonly held: HeldListeners;
  readonly look: OutsideLook;
  readonly unseen: Pick<UnseenWatch, 'lookNow' | 'leftBehind' | 'guard' | 'guardNoted' | 'assertNoneLeft'>;
  readonly settings: Pick<ServiceSettings, 'renew'>;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly log: Logger;
  /** How many connections one has, as far as that is seen from outside. */
  readonly connections: (generation: GenerationProcess) => number;
}

/** Replaces the generation that serves by a new one, one restart at a time. */
export class RestartService {
  readonly #parts: RestartServiceParts;
  readonly #onOver: (successor: GenerationProcess) => void;
  readonly #queue: RestartQueue<Asked, RestartSummary>;
  readonly #others: OtherChanges;
  readonly #watchers = new Set<Watcher>();
  #handover: RestartAttempt | undefined;
  #isHandingOver = false;
  #succeeded = 0;
  /** What the restart that is under way has changed. */
  #change: SettingsChange | undefined;
  /** Of the release that is just started. */
  #label: string | undefined;
  /** Of the release to which it is gone back: files that stay as another one has them. */
  #changedFiles: readonly string[] = [];
  #predecessors = new WeakMap<RestartSummary, GenerationProcess>();

  /** @param onOver is told when a handover to this successor has ended, in whichever way. */
  constructor(parts: RestartServiceParts, onOver: (successor: GenerationProcess) => void) {
    this.#parts = parts;
    this.#onOver = onOver;
    this.#others = new OtherChanges(parts);
    this.#queue = new RestartQueue(
      {
        isUnderWay: () => parts.generations.starting() !== undefined,
        over: (asked) => this.#others.startOver(asked.force),
      },
      (asked) => this.#begin(asked),
    );
  }

  /** How many have succeeded. */
  get succeeded(): number {
    return this.#succeeded;
  }

  /** Whether one has been asked for and is not over. */
  get isUnderWay(): boolean {
    return this.#queue.isRunning;
  }

  /** Whether a successor has been started, or its predecessor told to expect it. */
  get isHandingOver(): boolean {
    return this.#isHandingOver;
  }

  /** The handover of this successor, when it is the last one. */
  handoverTo(successor: GenerationProcess | number | undefined): RestartAttempt | undefined {
    const known = this.#handover?.successor;
    return known !== undefined && (successor === known || successor === known.number)
      ? this.#handover
      : undefined;
  }

  /** The handover from this predecessor, when it is the last one, and its successor is not being ended. */
  handoverFrom(predecessor: GenerationProcess): RestartAttempt | undefined {
    const known = this.#handover;
    return known?.predecessor === predecessor && !known.successor.isEnding ? known : undefined;
  }

  /** Whether a handover has begun under this supervisor. */
  get hasHandover(): boolean {
    return this.#handover !== undefined;
  }

  /**
   * Replaces the running generation.
   * @param release the one to start; without it what the command's paths hold now.
   * @returns when the successor has taken over and all that can move has moved.
   */
  async restart(request: RestartRequest, watch: Watcher, release?: Release): Promise<RestartSummary> {
    this.#watchers.add(watch);
    try {
      const { ifBusy, allowFewerListeners, whenQuiet, untilConfirmed, untilDrained = false } = request;
      const { force = false, isRollback = false, recycledBecause } = request;
      const asked = { ifBusy, allowFewerListeners, whenQuiet, force, isRollback, recycledBecause, release };
      const summary = await this.#queue.enqueue(ifBusy, asked);
      if (untilConfirmed) await this.#parts.probation.watched(summary.generation);
      else if (untilDrained) await this.#parts.probation.confirmed(summary.generation);
      return this.#withWatch(untilDrained ? await this.#withDrain(summary) : summary);
    } finally {
      this.#watchers.delete(watch);
    }
  }

  #withWatch(summary: RestartSummary): RestartSummary {
    const { generations, probation } = this.#parts;
    const { current } = generations;
    if (current?.number !== summary.generation) return summary;
    const until = probation.watchedUntil(current);
    return until === undefined ? summary : { ...summary, watchedMs: Math.max(0, until - wallClockMs()) };
  }

  async #withDrain(summary: RestartSummary): Promise<RestartSummary> {
    const report = await this.#predecessors.get(summary)?.drained;
    if (report === undefined) return summary;
    const { moved, drained, cut } = report;
    return { ...summary, moved, drained, draining: 0, cut: cut.length, cutConnections: cut };
  }

  /** Gives up the one that has not committed. */
  callOff(error: MoultError): void {
    if (this.#handover !== undefined && !this.#handover.hasCommitted) this.#handover.fail(error);
  }

  async #begin(asked: Asked): Promise<RestartSummary> {
    this.#label = asked.release?.label;
    try {
      const summary = await this.#replace(asked);
      this.#succeeded += 1;
      noteSuccess(this.#parts, summary, asked, this.#label);
      this.#keepWhenConfirmed(summary, this.#change);
      return summary;
    } catch (error) {
      if (this.#isHandingOver) this.#parts.generations.machine.on('failed');
      this.#change?.revert();
      throw noteFailure(this.#parts, error, asked, this.#label);
    } finally {
      this.#isHandingOver = false;
      this.#change = undefined;
    }
  }

  async #renewed(): Promise<Release> {
    this.#change = await this.#parts.settings.renew();
    return this.#change.release;
  }

  // Who serves after an undo has what held before.
  #keepWhenConfirmed({ generation }: RestartSummary, change: SettingsChange | undefined): void {
    this.#parts.probation.confirmed(generation).catch(() => change?.revert());
  }

  async #replace(asked: Asked): Promise<RestartSummary> {
    const { generations, releases, kept, held, options, log } = this.#parts;
    await admit(asked, options, {
      draining: () => this.#draining(),
      inFlight: async () => {
        const state = await generations.current?.state(STATE_TIMEOUT_MS);
        return (state?.inFlight ?? 0) + (state?.critical ?? 0);
      },
      log,
    });
    // While it waited a crashed service may have come to its next start.
    if (generations.starting() !== undefined) await this.#others.startOver(asked.force);
    await this.#others.undoOver();
    const wanted = asked.release ?? (await this.#renewed());
    // Reading a config takes its time, in which one may have begun.
    await this.#others.undoOver();
    const release = await this.#asItWas(wanted, asked);
    this.#label = release.label;
    const { current } = generations;
    this.#changedFiles =
      asked.isRollback && release === wanted && !kept.has(release)
        ? await changesBeside(release, current?.release)
        : [];
    const guard = await this.#guardOf(asked, release);
    // One that crashed meanwhile may be on its way again.
    if (generations.starting() !== undefined) await this.#others.startOver(asked.force);
    const predecessor = generations.current;
    // One that has served before is to have what it had then, whatever the one between listens on.
    const owed = asked.allowFewerListeners ? undefined : owedAfter(predecessor, releases, held);
    const known = releases.listenersOf(release) ?? owed;
    const expects = asked.isRollback && asked.allowFewerListeners ? undefined : known;
    const isUnknown = expects === undefined && (asked.isRollback || asked.allowFewerListeners);
    const given = generations.settings(isUnknown, { expects });
    const settings = { ...given, checked: given.checked || guard?.isNow === true };
    if (options.changeover === 'exclusive' && predecessor !== undefined)
      return this.#changeOver(release, settings, predecessor, guard);
    assertPasses(predecessor, held.size);
    const { number, isForced } = await expectSuccessor(this.#parts, predecessor, settings, asked.force);
    // Undone while it answered: it may have told already that it calls the next one off.
    if (generations.current !== predecessor || generations.machine.is('undoing', 'giving-back')) {
      const what = `generation ${predecessor?.number} is just being undone`;
      const error = new MoultError('MOULT_RESTART_IN_PROGRESS', what, { serving: 'unchanged' });
      predecessor?.expectNoMore(number, error);
      throw error;
    }
    // The operator has decided: what is in probation is confirmed.
    for (const one of generations.all()) if (one !== predecessor) one.lifeline?.send({ type: 'confirm' });
    this.#isHandingOver = true;
    if (predecessor !== undefined) generations.machine.on('replace');
    // Of several slots each successor's changes come in their turn.
    if (options.slots === null) held.paths?.guard();
    const successor = this.#start(release, settings, predecessor, number);
    successor.isForced = isForced;
    successor.inherited = new Set(owed);
    guard?.of(successor);
    return this.#handOver(successor, predecessor, settings);
  }

  // What moult does not see must be there again.
  async #guardOf({ isRollback, allowFewerListeners }: Asked, release: Release): Promise<Guard | undefined> {
    const { unseen, generations, releases, options } = this.#parts;
    const { current } = generations;
    if (current !== undefined) await unseen.lookNow(current);
    if (allowFewerListeners) return undefined;
    if (isRollback) {
      const noted = releases.unseenOf(release);
      return noted && { of: (successor) => unseen.guardNoted(successor, noted), isNow: true };
    }
    const left = current === undefined ? [] : unseen.leftBehind(current);
    const noted = options.changeover === 'exclusive' ? left : undefined;
    return { of: (successor) => unseen.guard(successor, noted), isNow: left.length > 0 };
  }

  async #handOver(
    successor: GenerationProcess,
    predecessor: GenerationProcess | undefined,
    settings: Settings,
  ): Promise<RestartSummary> {
    const { generations, options, look, unseen } = this.#parts;
    const toCommitMs = checkBudgetMs(options.check) + options.busyTimeoutMs;
    const handover = new RestartAttempt(
      successor,
      predecessor,
      settings,
      toCommitMs,
      (event) => this.#tell(event),
      (...who) => generations.undo(...who),
      async () => {
        // One that runs alone has no gate before which it is checked.
        if (options.changeover === 'exclusive') await unseen.assertNoneLeft(successor);
        return look.at(successor);
      },
      () => look.anew(successor),
    );
    this.#handover = handover;
    try {
      const changedFiles = this.#changedFiles;
      const done = await handover.done;
      const summary = changedFiles.length === 0 ? done : { ...done, changedFiles };
      if (predecessor !== undefined) this.#predecessors.set(summary, predecessor);
      return summary;
    } finally {
      this.#onOver(successor);
    }
  }

  // Going back to what was written over since would start something else.
  async #asItWas(release: Release, { recycledBecause }: Asked): Promise<Release> {
    const { releases, kept } = this.#parts;
    if (!releases.isKnown(release)) return release;
    const asItWas = await kept.asItWas(release, recycledBecause === undefined ? 'go back' : 'start again');
    releases.replace(release, asItWas);
    return asItWas;
  }

  // The two never run at once: should the successor fail, the release before is started again.
  async #changeOver(
    release: Release,
    settings: Settings,
    predecessor: GenerationProcess,
    guard: Guard | undefined,
  ): Promise<RestartSummary> {
    const { generations, probation, crashRecovery, options, log } = this.#parts;
    let successor: GenerationProcess;
    this.#isHandingOver = true;
    generations.machine.on('change-over');
    try {
      probation.end(predecessor.number);
      await endBefore(predecessor, generations, options, log);
      successor = generations.start(release, settings);
      guard?.of(successor);
    } catch (error) {
      this.#onOver(predecessor);
      throw await withReturn(error, generations, crashRecovery, options.readyTimeoutMs);
    }
    return this.#handOver(successor, predecessor, settings).catch(async (error) => {
      throw await withReturn(error, generations, crashRecovery, options.readyTimeoutMs);
    });
  }

  #start(
    release: Release,
    settings: Settings,
    predecessor: GenerationProcess | undefined,
    number: number,
  ): GenerationProcess {
    const { generations, crashRecovery } = this.#parts;
    try {
      const successor = generations.start(release, settings, predecessor, number);
      crashRecovery.cancel();
      return successor;
    } catch (error) {
      predecessor?.expectNoMore(number, asMoultError(error, 'MOULT_HANDOVER_ABORTED'));
      throw error;
    }
  }

  #tell(event: StageEvent): void {
    const { type, at, ...entry } = event;
    this.#parts.journal.write({ event: type, at, ...entry });
    for (const watch of this.#watchers) watch(event);
  }

  // The one in probation is not counted: a restart ends its probation, and with it usually its life.
  #draining(): GenerationProcess[] {
    const { generations, probation } = this.#parts;
    return generations
      .all()
      .filter(
        (one) =>
          one !== generations.current && one !== probation.predecessor && one.servingSince !== undefined,
      );
  }
}
