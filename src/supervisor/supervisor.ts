import type { Logger } from 'pino';
import { MoultError } from '../errors.js';
import type { JournalEntry } from '../lifecycle/journal-entry.js';
import type { RestartSummary } from '../lifecycle/restart-record.js';
import { wallClockMs } from '../os/clock.js';
import type { Measures } from '../protocol/messages.js';
import type { ServiceManagerLink } from '../service-manager/service-manager.js';
import { compose, type SupervisorParts } from './composition/composition.js';
import type { ServiceReport } from './composition/service-report.js';
import type { Startup } from './composition/startup.js';
import type { FactWatcher } from './journal/journal.js';
import { historyOf } from './journal/restart-history.js';
import type { RunFolder } from './journal/run-folder.js';
import type { HeldListeners } from './listeners/held-listeners.js';
import { serveOperator } from './operator-requests.js';
import type { OutputFile } from './output/output-file.js';
import { type Reopened, reopenOutput } from './output/output-reopening.js';
import type { Outputs } from './process/process-tree.js';
import type { Release } from './releases/release.js';
import { changedUnder } from './releases/release-files.js';
import { tellChanged } from './restart/restart-outcome.js';
import type { RestartRequest, Watcher } from './restart/restart-service.js';
import type { ServiceSettings } from './service-settings.js';
import { recycling } from './slots/recycler.js';
import type { RolledBack, RollRequest } from './slots/rolling-restart.js';
import type { Scaled, Scaling } from './slots/scaling.js';
import type { Slot } from './slots/slot.js';
import type { ServiceStatus, SlotFacts } from './status.js';
import type { Giver } from './takeover/incoming-takeover.js';
import type { InPlaceUpgrade, NextProgram } from './upgrade/in-place-upgrade.js';

/** Starts generations of one service, keeps copies of their listeners, and replaces them on request. */
export class Supervisor {
  /** Settles with the exit code of `moult run`. */
  readonly ended: Promise<number>;
  readonly held: HeldListeners;
  readonly #startedAt = wallClockMs();
  readonly #parts: SupervisorParts;
  readonly #log: Logger;
  readonly #outputFile: OutputFile | undefined;
  #lastFailure: JournalEntry | undefined;

  /** @param next the program that this process can become. */
  constructor(
    folder: RunFolder,
    settings: ServiceSettings,
    log: Logger,
    outputs: Outputs,
    next: NextProgram,
    manager: ServiceManagerLink,
    outputFile?: OutputFile,
  ) {
    this.#log = log;
    this.#outputFile = outputFile;
    const startedAt = this.#startedAt;
    this.#parts = compose(
      { folder, settings, log, outputs, outputFile, next, manager, startedAt },
      {
        operate: (channel) => serveOperator(channel, this),
        recycle: (slot, because) => this.#recycle(slot, because),
      },
    );
    this.held = this.#parts.held;
    this.ended = this.#parts.ended;
    this.#parts.journal.watch((entry) => {
      const hasFailed = entry.event === 'undone' || (entry.event === 'restart' && entry.ok === false);
      if (hasFailed) this.#lastFailure = entry;
    });
  }

  /** The numbers of the generations that live. */
  generations(): number[] {
    return this.#parts.slots.generations().map(({ number }) => number);
  }

  /** Whether no generation lives here. */
  get isEmpty(): boolean {
    return this.#parts.slots.generations().every(({ isOurs }) => !isOurs);
  }

  /** Whether the run folder is, or will be again, another supervisor's: then it stays. */
  get leavesFolder(): boolean {
    return this.#parts.leavesFolder();
  }

  /** Opens the listeners that it opens itself; see {@link Startup.openListeners}. */
  openListeners(): void {
    this.#parts.startup.openListeners();
  }

  /** Opens the door, and takes over what an earlier supervisor left, or starts the first generation; see {@link Startup.start}. */
  start(giver?: Giver, before?: { readonly control?: number }): Promise<void> {
    return this.#parts.startup.start(giver, before);
  }

  /**
   * Replaces the running generation by what the command's paths hold now.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover; `serving` tells who serves.
   */
  async restart(
    request: RestartRequest & Partial<RollRequest>,
    watch: Watcher = () => {},
    release?: Release,
  ): Promise<RestartSummary> {
    this.#parts.upgrade.assertNone();
    this.#parts.shutdown.assertNotBegun();
    this.#parts.first.outgoingTakeover.assertNone();
    this.#parts.guard.look();
    const { surge = 1, onFailure = 'undo', ...one } = request;
    const watchAll: Watcher = (event) => {
      this.#parts.manager.stage(event);
      watch(event);
    };
    return this.#parts.manager.reload(
      () =>
        this.#parts.hasSlots
          ? this.#parts.rollingRestart.restart({ ...one, surge, onFailure }, watchAll)
          : this.#parts.first.restarts.restart(one, watchAll, release),
      () => this.#parts.report.servingStatus(),
    );
  }

  // The same release, whatever the command's paths hold by now.
  async #recycle(slot: Slot, because: string): Promise<object> {
    this.#parts.upgrade.assertNone();
    this.#parts.shutdown.assertNotBegun();
    this.#parts.first.outgoingTakeover.assertNone();
    this.#parts.guard.look();
    const watch: Watcher = (event) => this.#parts.manager.stage(event);
    return this.#parts.manager.reload(
      () =>
        this.#parts.hasSlots
          ? this.#parts.rollingRestart.recycle(slot, because, watch)
          : slot.restarts.restart(recycling(because), watch, slot.generations.current?.release),
      () => this.#parts.report.servingStatus(),
    );
  }

  /** The same for who waits for no answer; in the moment of an upgrade the next program begins it. */
  restartUnasked(request: RestartRequest): void {
    const restart = () => void this.restart(request).catch(() => {});
    if (this.#parts.upgrade.isUnderWay) this.#parts.upgrade.owe(restart);
    else restart();
  }

  /**
   * Gives the service back to the release before: within probation at once, later by starting it again.
   * @param allowFewerListeners whether one that is started again may listen on less than it did before.
   * @returns the generation that serves.
   * @throws MOULT_NOTHING_TO_ROLL_BACK, or any code of a handover.
   */
  async rollback(watch: Watcher = () => {}, allowFewerListeners = false): Promise<RolledBack> {
    this.#parts.upgrade.assertNone();
    if (this.#parts.hasSlots) {
      this.#parts.shutdown.assertNotBegun();
      return this.#parts.rollingRestart.rollback(watch, allowFewerListeners);
    }
    const { probation, generations, releases } = this.#parts.first;
    const later = probation.successor?.release;
    const resumed = await probation.takeBack();
    if (resumed !== undefined && generations.current === resumed) {
      await this.#parts.look.at(resumed);
      const changedFiles = await changedUnder(resumed.release, later);
      tellChanged(this.#log, resumed.number, changedFiles);
      return { generation: resumed.number, how: 'resumed', ...(changedFiles.length > 0 && { changedFiles }) };
    }
    // One that has not proved itself is no release to count from.
    const isUnproved = generations.current?.isProved === false;
    const release = isUnproved ? releases.lastGood() : releases.before();
    if (release === undefined) {
      throw new MoultError(
        'MOULT_NOTHING_TO_ROLL_BACK',
        'no earlier release has completed its probation here',
      );
    }
    const request = {
      ifBusy: 'wait',
      allowFewerListeners,
      untilConfirmed: false,
      whenQuiet: null,
      isRollback: true,
    } as const;
    const summary = await this.restart(request, watch, release);
    const { generation, changedFiles } = summary;
    return { generation, how: 'restarted', ...(changedFiles && { changedFiles }) };
  }

  /**
   * Has so many processes share the service from now on.
   * @returns when those that are new serve, or those that were too many have ended.
   * @param dropState whether slots end although they have what no other slot takes.
   * @throws MOULT_BAD_OPTION where it was started without slots; MOULT_STOPPING; what {@link Scaling.to} throws.
   */
  async scale(slots: number, dropState = false): Promise<Scaled> {
    this.#parts.upgrade.assertNone();
    this.#parts.shutdown.assertNotBegun();
    if (!this.#parts.hasSlots) {
      const what = 'the service was started without slots: start it with --slots (1 or more) to scale it';
      throw new MoultError('MOULT_BAD_OPTION', what);
    }
    return this.#parts.rollingRestart.scale(slots, dropState);
  }

  /** Past restarts, oldest first. */
  history(): Record<string, unknown>[] {
    return historyOf(this.#parts.journal.read());
  }

  /** Opens the file of `--output` anew. @throws MOULT_OUTPUT_FILE when there is none, or it cannot be opened: nothing has changed then. */
  reopenOutput(): Promise<Reopened> {
    return reopenOutput(this.#outputFile, () => this.#parts.slots.generations(), this.#log);
  }

  /** Passes a signal on to each generation that serves. */
  pass(name: NodeJS.Signals): void {
    for (const { generations } of this.#parts.slots.staying) generations.current?.signalService(name);
  }

  /** Ends the service: what is in flight is finished, up to the drain time-out; a second call ends it at once. */
  stop(): Promise<void> {
    return (
      this.#parts.first.outgoingTakeover.finishBeforeStop() ??
      this.#parts.takeOver.giveBack() ??
      this.#parts.shutdown.stop()
    );
  }

  /** Replaces this process's program in a moment; see {@link InPlaceUpgrade.begin}. */
  upgradeSoon(onFailure: (error: MoultError) => void): Promise<{ pid: number }> {
    return this.#parts.upgrade.begin(onFailure);
  }

  /** Replaces this process's program whatever is under way; see {@link InPlaceUpgrade.goOn}. */
  goOnAsNewProgram(): Promise<string> {
    return this.#parts.upgrade.goOn();
  }

  /** Lets go of everything after a failed start; generations that live go on. */
  abandon(): void {
    this.#parts.shutdown.finish(1);
  }

  /** What there is to measure, as text for Prometheus. @throws Error where nobody has been set to tell it. */
  metrics: () => Promise<string> = () => Promise.reject(new Error('this supervisor has no metrics'));

  /** A link to the dashboard that it serves. @throws MOULT_BAD_OPTION where it serves none. */
  dashboard: () => Promise<string> = () => {
    const what = 'this service was started without --dashboard; moult dashboard shows all services';
    return Promise.reject(new MoultError('MOULT_BAD_OPTION', what));
  };

  /** What failed last, with its output. */
  get lastFailure(): JournalEntry | undefined {
    return this.#lastFailure;
  }

  /** Has this called with what happens from now on. @returns ends that. */
  watch(watcher: FactWatcher): () => void {
    return this.#parts.journal.watch(watcher);
  }

  /** All that has happened since this program of the supervisor began, as far as it could be written down. */
  facts(): JournalEntry[] {
    return this.#parts.journal.read().filter(({ at }) => at >= this.#startedAt);
  }

  /** How each slot does, apart from its generations. */
  slots(): SlotFacts[] {
    return this.#parts.report.slots();
  }

  /** What a generation said last that it has measured. */
  measuresOf(generation: number): Measures | undefined {
    return this.#parts.report.measuresOf(generation);
  }

  /** What runs now; see {@link ServiceReport.status}. */
  status(measure = false, withConfig = false): Promise<ServiceStatus> {
    return this.#parts.report.status(measure, withConfig);
  }
}
