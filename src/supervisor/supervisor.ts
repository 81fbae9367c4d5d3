/*
 * Over 300 lines: it makes the parts and passes questions on to them, one short method each; what they do is in the parts.
 */
import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../errors.js';
import type { RestartSummary } from '../lifecycle/restart-record.js';
import { wallClockMs } from '../os/clock.js';
import { isProcess, startTicks } from '../os/processes/process.js';
import { connectionsOf } from '../programs/connections.js';
import type { Measures, Message } from '../protocol/messages.js';
import type { ServiceManagerLink } from '../service-manager/service-manager.js';
import { MOULT_VERSION } from '../version.js';
import { beInit } from './init.js';
import { type FactWatcher, Journal } from './journal/journal.js';
import { JournalFile } from './journal/journal-file.js';
import { historyOf } from './journal/restart-history.js';
import type { RunFolder } from './journal/run-folder.js';
import type { JournalEntry, JournalFact } from './journal-entry.js';
import { HeldListeners, type KeptListener, type Sharing } from './listeners/held-listeners.js';
import { HeldPaths } from './listeners/held-paths.js';
import { serveOperator } from './operator.js';
import type { SupervisorOptions } from './options.js';
import type { OutputFile } from './output/output-file.js';
import { type Reopened, reopenOutput } from './output/output-reopening.js';
import { afterwards, serviceFactory, telling } from './process/generation-factory.js';
import { GenerationNumbers } from './process/generation-numbers.js';
import type { GenerationProcess } from './process/generation-process.js';
import { livingGenerations } from './process/journal-replay.js';
import { type LeftDoor, leftDoors } from './process/orphan-doors.js';
import type { Outputs } from './process/process-tree.js';
import { ServiceFilesFinder } from './process/service-files.js';
import { ListenSockets } from './programs/listen-sockets.js';
import { programFactory, servedLast } from './programs/program-factory.js';
import { ProgramGeneration, type ProgramMeans } from './programs/program-generation.js';
import { takeBackSockets } from './programs/socket-recovery.js';
import { OutsideLook } from './reachability/outside-look.js';
import { UnseenWatch } from './reachability/unseen-listeners.js';
import { KeptReleases } from './releases/kept-releases.js';
import { type Release, resolveRelease, type ServiceCommand } from './releases/release.js';
import { runCheck } from './restart/health-check.js';
import type { RestartRequest, Watcher } from './restart/restart-service.js';
import type { ServiceSettings } from './service-settings.js';
import { ConnectionRouter } from './serving/connection-router.js';
import { tellWhatItWaitsFor } from './serving/first-start-watch.js';
import { FolderGuard } from './serving/folder-guard.js';
import { Shutdown } from './serving/shutdown.js';
import type { Teller } from './serving/teller.js';
import { Rebalancer } from './slots/rebalancer.js';
import { Recycler } from './slots/recycler.js';
import { type RolledBack, RollingRestart, type RollRequest, recycling } from './slots/rolling-restart.js';
import { type Scaled, Scaling } from './slots/scaling.js';
import { Slot } from './slots/slot.js';
import { SlotIntroductions } from './slots/slot-introductions.js';
import { SlotStartup } from './slots/slot-startup.js';
import { Slots } from './slots/slots.js';
import { StickyRoutes } from './slots/sticky-routes.js';
import {
  generationStatus,
  type HeldConfig,
  isUnfound,
  type ServiceStatus,
  type SlotFacts,
  type SupervisorState,
} from './status.js';
import { type Giver, IncomingTakeover } from './takeover/incoming-takeover.js';
import type { LivingGeneration } from './upgrade.js';

const OPEN_AGAIN_MS = 500;
/** How often it is tried to read what the program before this one wrote. */
const READ_TIMES = 20;
/** How often those that do not come back are called. */
const CALL_MS = 500;
/** The answer to who asked gets out first. */
const UPGRADE_DELAY_MS = 50;
/** How long after its start a service that shows no listener is ready, and one that is busy all the time; milliseconds. */
function readyTimes(options: SupervisorOptions) {
  const afterMs = readyAfterOf(options);
  const busyAfterMs = Math.max(afterMs, Math.min(afterMs + BUSY_MS, options.readyTimeoutMs * BUSY_SHARE));
  const isTimed = options.changeover === 'exclusive';
  return { afterMs, busyAfterMs, busyAloneAfterMs: isTimed ? busyAfterMs : afterMs + BUSY_MS };
}

/** How long after its start a service that shows no listener is taken for ready, where no option says. */
const READY_AFTER_MS = 3000;
/** How much longer one is waited for that is busy, and may be loading; in any case it is ready within its time-out. */
const BUSY_MS = 9000;
const BUSY_SHARE = 0.5;

/** The program that this process can become. */
export interface NextProgram {
  /** Has it started beside this one, to see that it could take over. @throws MOULT_UPGRADE_FAILED */
  rehearse(held: readonly KeptListener[], living: readonly LivingGeneration[]): Promise<unknown>;
  /** Becomes it. @param leaves the socket at which it is reached, and whether a restart is to begin. @throws MOULT_SYSTEM_CALL; nothing has changed then. */
  become(
    held: readonly KeptListener[],
    leaves: { readonly control?: number; readonly restarts?: boolean },
  ): never;
}

/** Starts generations of one service, keeps copies of their listeners, and replaces them on request. */
export class Supervisor {
  /** Settles with the exit code of `moult run`. */
  readonly ended: Promise<number>;
  readonly held: HeldListeners;
  /** Those of them that the supervisor opens itself. */
  readonly own: ListenSockets;
  readonly #folder: RunFolder;
  readonly #settings: ServiceSettings;
  readonly #service: ServiceCommand;
  readonly #options: SupervisorOptions;
  readonly #log: Logger;
  readonly #outputs: Outputs;
  readonly #outputFile: OutputFile | undefined;
  readonly #next: NextProgram;
  readonly #startedAt = wallClockMs();
  #lastFailure: JournalEntry | undefined;
  #isBeingReplaced = false;
  /** The restart that was asked for within that moment. */
  #owed: (() => void) | undefined;
  #calling: NodeJS.Timeout | undefined;
  /** Whether there were as many slots as it was started with. */
  #hasBeenWhole = false;
  readonly #journal: Journal;
  readonly #slots: Slots;
  readonly #slotStartup: SlotStartup;
  readonly #rollingRestart: RollingRestart;
  readonly #shutdown: Shutdown;
  readonly #connectionRouter: ConnectionRouter;
  readonly #manager: ServiceManagerLink;
  readonly #takeOver: IncomingTakeover;
  readonly #homes: StickyRoutes;
  readonly #look: OutsideLook;
  readonly #guard: FolderGuard;
  readonly #files: ServiceFilesFinder;
  readonly #recycler: Recycler;

  constructor(
    folder: RunFolder,
    settings: ServiceSettings,
    log: Logger,
    outputs: Outputs,
    next: NextProgram,
    manager: ServiceManagerLink,
    outputFile?: OutputFile,
  ) {
    this.#outputs = outputs;
    this.#outputFile = outputFile;
    // The same objects all the time: a restart writes what holds from then on into them.
    const { service, options } = settings;
    this.#folder = folder;
    this.#settings = settings;
    this.#service = service;
    this.#options = options;
    this.#log = log;
    this.#next = next;
    this.#manager = manager;
    const journal = new Journal(
      new JournalFile(folder.journal, (error) =>
        log.error(
          `the journal cannot be written (${String(error)}); the service keeps running; moult writes what is needed as soon as it can`,
        ),
      ),
    );
    journal.tellsAnew(() => this.#facts());
    this.#journal = journal;
    journal.watch((entry) => {
      const hasFailed = entry.event === 'undone' || (entry.event === 'restart' && entry.ok === false);
      if (hasFailed) this.#lastFailure = entry;
    });
    const sharing = options.slots === null ? undefined : this.#sharing();
    this.held = new HeldListeners(manager.store, sharing, new HeldPaths(folder.path));
    this.own = new ListenSockets(options.listen, this.held, journal);
    const { held } = this;
    const shutdown = new Shutdown({ slots: () => this.#slots.all, held, manager, options, journal, log });
    const check = (generation: GenerationProcess) => this.#check(generation);
    const numbers = new GenerationNumbers();
    const maker = (index: number | undefined) => (listen: Slot['listen']) => {
      const made = options.isProgram
        ? programFactory({ means: () => this.#means(), listen })
        : serviceFactory(
            folder.control,
            outputs,
            () => this.#files.find(),
            held,
            () => readyTimes(options),
            index,
            () => options.instanceVar,
          );
      const own = index === undefined ? journal : journal.ofSlot(index);
      const keeping = telling((generation) => kept.keep(generation, own), made);
      return afterwards(() => this.#guard.look(), keeping);
    };
    const kept = new KeptReleases({
      options: () => options.keep,
      name: folder.name,
      needed: () =>
        this.#slots.all.flatMap(({ generations, releases }) => [
          ...generations.all().flatMap(({ exit, release }) => (exit === undefined ? release : [])),
          ...[releases.lastGood(), releases.before()].flatMap((release) => release ?? []),
        ]),
      log,
      tell: (what) => manager.tell(what),
    });
    const homes = new StickyRoutes(
      () => this.#slots,
      () => options.sticky,
    );
    this.#homes = homes;
    const introductions = new SlotIntroductions(() => this.#slots);
    const moved = () => {
      homes.tell();
      introductions.tell();
      this.#look.turned();
    };
    const connections = ({ pid }: GenerationProcess) =>
      connectionsOf(pid, held.describe().descriptors).length;
    const acceptors = (one: GenerationProcess) => this.#acceptors(one);
    const living = () => this.#slots.generations();
    const withinMs = () => options.hangTimeoutMs;
    const look = new OutsideLook({ held, withinMs, acceptors, living });
    this.#look = look;
    const surroundings = {
      kept,
      look,
      folder,
      settings,
      options,
      numbers,
      held,
      shutdown,
      check,
      connections,
      moved,
    };
    this.#slots = new Slots((index) => {
      const ours = { ...surroundings, index, maker: maker(index) };
      if (index === undefined) return new Slot({ ...ours, manager, journal, log });
      const own = {
        manager: this.#tellerOf(index),
        journal: journal.ofSlot(index),
        log: settings.follows(log.child({ slot: index })),
      };
      return new Slot({ ...ours, ...own });
    });
    const slots = this.#slots;
    const first = slots.at(options.slots === null ? undefined : 0);
    this.#slotStartup = new SlotStartup({ slots, options, journal, folder, log });
    this.#rollingRestart = new RollingRestart({
      slots,
      scaling: new Scaling({ slots, held, look, options, journal, log }),
      settings,
      shutdown,
      log,
    });
    this.#shutdown = shutdown;
    this.#connectionRouter = new ConnectionRouter({
      slotOf: (generation) => slots.of(generation),
      placeOf: (pid) => slots.placeOf(pid),
      unknown: (pid, number) => this.#slotStartup.meet(pid, number, resolveRelease(service)),
      held,
      joined: (generation, wasThere) => {
        homes.greet(generation, wasThere);
        introductions.tell();
      },
      serve: (channel) => serveOperator(channel, this),
      cede: (channel) => {
        if (options.slots !== null) throw severalSlots();
        if (options.changeover === 'exclusive') throw runsAlone();
        first.outgoingTakeover.receive(channel);
      },
      cameBack: (generation, how) => this.#takeOver.cameBack(generation, how),
    });
    this.#files = new ServiceFilesFinder(folder.path, (what) => log.error(what));
    const connectionRouter = this.#connectionRouter;
    const isOurs = () => !this.#isFolderOfOther && !first.outgoingTakeover.isUnderWay;
    this.#guard = new FolderGuard({ folder, connectionRouter, journal, isOurs, log });
    this.#takeOver = new IncomingTakeover({ ...first, held, shutdown, connectionRouter, folder, log, check });
    const isBusy = () => shutdown.hasBegun || this.#rollingRestart.isUnderWay;
    const rebalancer = new Rebalancer(slots, () => options.sticky !== null || isBusy());
    if (this.#hasSlots) rebalancer.start();
    const recycler = new Recycler({
      slots,
      options,
      log,
      isBusy: () => isBusy() || this.#isBeingReplaced,
      recycle: (slot, because) => this.#recycle(slot, because),
    });
    this.#recycler = recycler;
    recycler.start();
    const unseen = new UnseenWatch({
      generations: () => slots.generations(),
      held,
      folder: folder.path,
      log,
    });
    if (!options.isProgram) unseen.start();
    const endInit = process.pid === 1 ? beInit(() => slots.generations()) : () => {};
    this.ended = shutdown.ended.finally(() => {
      rebalancer.stop();
      recycler.stop();
      unseen.stop();
      this.#guard.stop();
      clearInterval(this.#calling);
      this.#files.close();
      endInit();
      this.own.close();
      if (!shutdown.sparesListeners && !manager.keepsListeners) this.own.removePaths();
      this.#connectionRouter.close();
      manager.close();
    });
  }

  /** Whether no generation lives here. */
  get isEmpty(): boolean {
    return this.#slots.generations().every(({ isOurs }) => !isOurs);
  }

  /** Whether the run folder is, or will be again, another supervisor's: then it stays. */
  get leavesFolder(): boolean {
    return this.#isFolderOfOther || this.#guard.isDisplaced;
  }

  get #isFolderOfOther(): boolean {
    return this.#first.outgoingTakeover.hasCededFolder || this.#takeOver.isGuest;
  }

  /**
   * Opens the listeners that `--listen` names, or takes back from programs that an earlier supervisor left what it opened for
   * them. Those of services that know moult come with their generations.
   * @throws MOULT_LISTEN_FAILED
   */
  openListeners(): void {
    const { listen, isProgram } = this.#options;
    const entries = listen.length === 0 ? [] : this.#journal.read();
    const living = livingGenerations(entries).living.filter(({ pid, ticks }) => isProcess(pid, ticks));
    const isHeld = (listener: string) => this.held.descriptorOf(listener) !== undefined;
    const left = isProgram ? takeBackSockets(listen, entries, living, isHeld) : [];
    this.own.open(this.#manager, isProgram, left, !isProgram && living.length > 0);
  }

  /**
   * Opens the door, and takes over the generations that an earlier supervisor left, or starts the first.
   * @param giver the supervisor from which the first takes over, where there is one.
   * @param before what the program before an exec left, where there was one: the socket of the door, if that was bound.
   * @throws MOULT_BAD_OPTION when the command cannot be resolved; MOULT_PEER_TIMEOUT when an earlier
   *   generation lives but does not come back; any code of a handover when a take-over failed.
   */
  async start(giver?: Giver, before?: { readonly control?: number }): Promise<void> {
    // What the journal of a folder that both have tells is of the other's.
    const isOfOther = giver?.sharesFolder === true && giver.ask() !== undefined;
    const { release, left } = await this.#recover(before !== undefined, isOfOther);
    const control = before?.control;
    const living = left.flatMap((one) => one.living);
    if (control === undefined) await this.#openDoor(living.length > 0);
    else this.#connectionRouter.inherit(this.#folder.control, control);
    this.#guard.start();
    const { expected } = this.#slotStartup;
    const slots = this.#hasSlots ? { slots: expected } : {};
    this.#journal.write({ event: 'run', pid: process.pid, command: release.label, ...slots });
    if (this.#options.isProgram) {
      this.own.watch((what) => this.#log.warn(what));
      this.#resume(living);
    }
    const begin = () => this.#begin(release, giver);
    this.#calling = setInterval(() => this.#callThoseAway(), CALL_MS).unref();
    if (living.length === 0) await begin();
    else if (this.#hasSlots) await this.#slotStartup.allBack(left, release);
    else await this.#first.adoption.allBack(living, giver && begin);
    await this.own.brought();
    this.#homes.begin(left.flatMap(({ slot, living: one }) => (one.length > 0 ? slot : [])));
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
    this.#assertNotReplaced();
    this.#shutdown.assertNotBegun();
    this.#first.outgoingTakeover.assertNone();
    this.#guard.look();
    const { surge = 1, onFailure = 'undo', ...one } = request;
    const watchAll: Watcher = (event) => {
      this.#manager.stage(event);
      watch(event);
    };
    return this.#manager.reload(
      () =>
        this.#hasSlots
          ? this.#rollingRestart.restart({ ...one, surge, onFailure }, watchAll)
          : this.#first.restarts.restart(one, watchAll, release),
      () => this.#servingStatus(),
    );
  }

  // The same release, whatever the command's paths hold by now.
  async #recycle(slot: Slot, because: string): Promise<object> {
    this.#assertNotReplaced();
    this.#shutdown.assertNotBegun();
    this.#first.outgoingTakeover.assertNone();
    this.#guard.look();
    const watch: Watcher = (event) => this.#manager.stage(event);
    return this.#manager.reload(
      () =>
        this.#hasSlots
          ? this.#rollingRestart.recycle(slot, because, watch)
          : slot.restarts.restart(recycling(because), watch, slot.generations.current?.release),
      () => this.#servingStatus(),
    );
  }

  /** The same for who waits for no answer; in the moment of an upgrade the next program begins it. */
  restartUnasked(request: RestartRequest): void {
    const restart = () => void this.restart(request).catch(() => {});
    if (this.#isBeingReplaced) this.#owed = restart;
    else restart();
  }

  /**
   * Gives the service back to the release before: within probation at once, later by starting it again.
   * @returns the generation that serves.
   * @throws MOULT_NOTHING_TO_ROLL_BACK, or any code of a handover.
   */
  async rollback(watch: Watcher = () => {}): Promise<RolledBack> {
    this.#assertNotReplaced();
    if (this.#hasSlots) {
      this.#shutdown.assertNotBegun();
      return this.#rollingRestart.rollback(watch);
    }
    const { probation, generations, releases } = this.#first;
    const resumed = await probation.takeBack();
    if (resumed !== undefined && generations.current === resumed) {
      await this.#look.at(resumed);
      return { generation: resumed.number, how: 'resumed' };
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
      allowFewerListeners: true,
      untilConfirmed: false,
      whenQuiet: null,
      isRollback: true,
    } as const;
    const summary = await this.restart(request, watch, release);
    return { generation: summary.generation, how: 'restarted' };
  }

  /**
   * Has so many processes share the service from now on.
   * @returns when those that are new serve, or those that were too many have ended.
   * @throws MOULT_BAD_OPTION where it was started without slots; MOULT_STOPPING; what {@link Scaling.to} throws.
   */
  async scale(slots: number): Promise<Scaled> {
    this.#assertNotReplaced();
    this.#shutdown.assertNotBegun();
    if (!this.#hasSlots) {
      const what = 'the service was started without slots: start it with --slots (1 or more) to scale it';
      throw new MoultError('MOULT_BAD_OPTION', what);
    }
    return this.#rollingRestart.scale(slots);
  }

  /** Past restarts, oldest first. */
  history(): Record<string, unknown>[] {
    return historyOf(this.#journal.read());
  }

  /** Opens the file of `--output` anew. @throws MOULT_OUTPUT_FILE when there is none, or it cannot be opened: nothing has changed then. */
  reopenOutput(): Promise<Reopened> {
    return reopenOutput(this.#outputFile, () => this.#slots.generations(), this.#log);
  }

  /** Passes a signal on to each generation that serves. */
  pass(name: NodeJS.Signals): void {
    for (const { generations } of this.#slots.staying) generations.current?.signalService(name);
  }

  /** Ends the service: what is in flight is finished, up to the drain time-out; a second call ends it at once. */
  stop(): Promise<void> {
    return (
      this.#first.outgoingTakeover.finishBeforeStop() ?? this.#takeOver.giveBack() ?? this.#shutdown.stop()
    );
  }

  /**
   * Replaces this process's program by the one that its path holds now, in a moment, so that the answer gets
   * out first. The generations serve on and come back to it. Who connects meanwhile waits.
   * @param onFailure is told where the kernel refuses after the answer; this program goes on then.
   * @throws MOULT_RESTART_IN_PROGRESS, MOULT_STOPPING, MOULT_UPGRADE_FAILED
   */
  async upgradeSoon(onFailure: (error: MoultError) => void): Promise<{ pid: number }> {
    this.#assertReplaceable();
    await this.#rehearse();
    this.#assertReplaceable();
    // Throws before anything has changed.
    const control = this.#connectionRouter.keepOverExec(this.#folder.control);
    this.#isBeingReplaced = true;
    setTimeout(() => this.#upgrade(control, onFailure), UPGRADE_DELAY_MS);
    return { pid: process.pid };
  }

  #assertReplaceable(): void {
    this.#assertNotReplaced();
    this.#shutdown.assertNotBegun();
    this.#first.outgoingTakeover.assertNone();
    this.#takeOver.assertProved();
    const isBusy = ({ restarts, serves }: Slot) => restarts.isUnderWay || !serves;
    if (this.#rollingRestart.isUnderWay || this.#slots.all.some(isBusy)) {
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'a generation is just taking over, or none serves');
    }
    if (this.#options.isProgram && this.#first.generations.own().length > 1) {
      // Its sockets would be lost track of.
      throw new MoultError(
        'MOULT_RESTART_IN_PROGRESS',
        'an older generation of the program has not ended yet',
      );
    }
  }

  // Only who has connected before learns of it: the others are let in by the next program.
  #assertNotReplaced(): void {
    if (!this.#isBeingReplaced) return;
    const what = 'the supervisor is being upgraded (moult upgrade): try again in a moment';
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', what, {
      serving: 'unchanged',
      details: { isReplaced: true },
    });
  }

  #rehearse(): Promise<unknown> {
    const living = this.#slots.generations().filter(({ isOurs, pid }) => isOurs && pid > 0);
    return this.#next.rehearse(
      this.held.kept(),
      living.map(({ number, pid }) => ({ generation: number, pid, ticks: startTicks(pid) })),
    );
  }

  /**
   * Replaces this process's program as soon as it is known to load, whatever is under way: what is not committed is called
   * off, as after a crash of the supervisor.
   * @returns why it is not the moment for that.
   * @throws MOULT_UPGRADE_FAILED, MOULT_SYSTEM_CALL when it cannot be done.
   */
  async goOnAsNewProgram(): Promise<string> {
    const before = this.#whyNotAnew();
    if (before !== undefined) return before;
    await this.#rehearse();
    return this.#whyNotAnew() ?? this.#next.become(this.held.keepOverExec(), {});
  }

  #whyNotAnew(): string | undefined {
    if (this.#isBeingReplaced) return 'it is being upgraded (moult upgrade)';
    if (this.#shutdown.hasBegun) return 'it is ending';
    if (this.leavesFolder || this.#first.outgoingTakeover.isUnderWay) return 'another supervisor takes over';
    const isSeveral = this.#options.isProgram && this.#first.generations.own().length > 1;
    return isSeveral
      ? 'two generations of the program are running, and it would lose track of their sockets'
      : undefined;
  }

  /** Lets go of everything after a failed start; generations that live go on. */
  abandon(): void {
    this.#shutdown.finish(1);
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
    return this.#journal.watch(watcher);
  }

  /** All that has happened since this program of the supervisor began, as far as it could be written down. */
  facts(): JournalEntry[] {
    return this.#journal.read().filter(({ at }) => at >= this.#startedAt);
  }

  /** How each slot does, apart from its generations. */
  slots(): SlotFacts[] {
    return this.#slots.staying.map(({ index, probation, crashRecovery }) => ({
      slot: index,
      inProbation: probation.successor?.number,
      nextStartAt: crashRecovery.dueAt,
    }));
  }

  /** What a generation said last that it has measured. */
  measuresOf(generation: number): Measures | undefined {
    return this.#slots.generations().find(({ number }) => number === generation)?.measures;
  }

  /**
   * What runs now.
   * @param measure whether the generations are to measure, and tell of it.
   * @param withConfig whether the options that hold are told, too.
   */
  async status(measure = false, withConfig = false): Promise<ServiceStatus> {
    const slots = this.#slots.all;
    const generations = await Promise.all(
      slots.flatMap(({ index, generations: all, probation }) =>
        all.all().map(async (one) => {
          const until = probation.watchedUntil(one);
          return {
            ...(index === undefined ? {} : { slot: index }),
            ...(await generationStatus(one, measure)),
            ...(until === undefined ? {} : { watchedUntil: until }),
          };
        }),
      ),
    );
    const waits = this.#slots.staying.flatMap(({ index, serves, crashRecovery: { wait } }) =>
      serves || wait === undefined ? [] : [{ ...(index === undefined ? {} : { slot: index }), ...wait }],
    );
    const sum = (of: (slot: Slot) => number) => slots.reduce((all, slot) => all + of(slot), 0);
    return {
      name: this.#folder.name,
      pid: process.pid,
      version: MOULT_VERSION,
      state: this.#state(),
      command: this.#service.words.join(' '),
      startedAt: this.#startedAt,
      restarts: sum(({ restarts }) => restarts.succeeded) + this.#slots.gone.restarts,
      crashes: sum(({ servingState }) => servingState.exits.crashes) + this.#slots.gone.crashes,
      ...(this.#hasSlots ? { slots: this.#slots.staying.length } : {}),
      ...(withConfig ? { config: this.#heldConfig() } : {}),
      ...(waits.length === 0 ? {} : { waits }),
      ...(this.#recycler.last === undefined ? {} : { recycled: this.#recycler.last }),
      generations,
    };
  }

  #heldConfig(): HeldConfig {
    const { config, held } = this.#settings.now;
    return { file: config?.file ?? null, options: held };
  }

  // What lives is not left alone because its supervisor's next program cannot read something just now.
  async #recover(
    isInItsPlace: boolean,
    isOfOther: boolean,
  ): Promise<{ release: Release; left: ReturnType<SlotStartup['recover']> }> {
    for (let times = 1; ; times += 1) {
      const isLast = times >= READ_TIMES;
      try {
        const release = this.#releaseAtStart(isInItsPlace && isLast);
        const left = isOfOther ? [] : this.#slotStartup.recover(release, isInItsPlace && !isLast);
        return { release, left };
      } catch (error) {
        if (!isInItsPlace || this.#shutdown.hasBegun) throw error;
        if (times === 1)
          this.#log.error(`${String(error)}: running generations keep running, and moult tries again`);
      }
      await new Promise((resolve) => setTimeout(resolve, OPEN_AGAIN_MS));
    }
  }

  // Where the command cannot be found for long, what lives is followed by what it was started from.
  #releaseAtStart(mayBeThatOfBefore: boolean): Release {
    try {
      return resolveRelease(this.#service);
    } catch (error) {
      const before = mayBeThatOfBefore ? livingGenerations(this.#journal.read()).living.at(-1) : undefined;
      if (before === undefined) throw error;
      return { ...before.startedFrom, env: process.env };
    }
  }

  // What lives is not left alone because there is no room for a socket just now.
  async #openDoor(isAwaited: boolean): Promise<void> {
    for (let isTold = false; ; isTold = true) {
      try {
        this.#connectionRouter.open(this.#folder.control);
        return;
      } catch (error) {
        if (!isAwaited || this.#shutdown.hasBegun) throw error;
        if (!isTold)
          this.#log.error(`${String(error)}: running generations keep running, and moult tries again`);
      }
      await new Promise((resolve) => setTimeout(resolve, OPEN_AGAIN_MS));
      this.#folder.clear();
    }
  }

  #callThoseAway(): void {
    const isAway = (one: GenerationProcess) => one.isAdopted && !one.isReachable && one.exit === undefined;
    if (this.#options.isProgram || !this.#slots.generations().some(isAway)) return;
    for (const door of this.#leftDoors()) {
      const generation = this.#slots.placeOf(door.pid)?.generation;
      if (generation !== undefined && isAway(generation)) this.#connectionRouter.call(door).catch(() => {});
    }
  }

  #leftDoors(): LeftDoor[] {
    try {
      return leftDoors(this.#folder.path);
    } catch {
      // There is no room for a socket just now: the next look may see them.
      return [];
    }
  }

  async #begin(release: Release, giver: Giver | undefined): Promise<void> {
    const offer = giver?.ask();
    if (giver !== undefined && offer !== undefined) await this.#takeOver.begin(giver, offer, release);
    // A release that listens elsewhere than the one before must not wait for what the unit passed.
    else {
      const slot = this.#first;
      const first = slot.begin(release, slot.generations.settings(this.held.size > 0));
      tellWhatItWaitsFor(first, this.#options.isProgram, this.#log);
      this.#slotStartup.othersAfter(first, slot);
    }
  }

  get #hasSlots(): boolean {
    return this.#options.slots !== null;
  }

  /** The only slot, or the one that is there from the first start to the last stop. */
  get #first(): Slot {
    return this.#slots.at(this.#hasSlots ? 0 : undefined);
  }

  #servingStatus(): string {
    if (!this.#hasSlots) return this.#first.servingState.servingStatus();
    const { staying } = this.#slots;
    const serving = staying.filter(({ serves }) => serves);
    const numbers = serving.map(({ generations }) => generations.current?.number).join(', ');
    return `${serving.length} of ${staying.length} slots serve (generations ${numbers || 'none'})`;
  }

  // A service of several slots is well when one of them is.
  #tellerOf(index: number): Teller {
    const answers = async () => {
      const all = await Promise.all(this.#slots.staying.map(({ servingState }) => servingState.answers()));
      return all.includes(true);
    };
    const manager = this.#manager;
    return {
      get isReady() {
        return manager.isReady;
      },
      accepting: () => this.#manager.accepting(answers),
      serving: () => this.#manager.serving(this.#servingStatus(), answers),
      tell: (what) => this.#manager.tell(`slot ${index}: ${what}`),
    };
  }

  // Slots share their listeners: any of them accepts in place of another. One that was left by an earlier supervisor
  // may not have come back yet.
  #acceptors(generation: GenerationProcess): GenerationProcess[] {
    const others = this.#slots.all.filter(({ generations }) => !generations.all().includes(generation));
    const accepting = others.flatMap(({ generations }) =>
      generations.all().filter((one) => one === generations.current || (one.isAdopted && !one.isReachable)),
    );
    return [generation, ...accepting];
  }

  #facts(): JournalFact[] {
    return this.#slots.all.flatMap(({ index, generations }) =>
      generations.facts().map((fact) => (index === undefined ? fact : { slot: index, ...fact })),
    );
  }

  #sharing(): Sharing {
    const tell = <T extends 'share' | 'withdraw'>(
      message: Message<T>,
      descriptors?: number[],
      except?: number,
    ) => {
      for (const { number, lifeline, isEnding } of this.#slots.generations())
        if (number !== except && !isEnding) lifeline?.send(message, descriptors);
    };
    return {
      isAlive: (generation) => this.#slots.of(generation) !== undefined,
      opened: (listener, fd, by) => tell({ type: 'share', listener }, [fd], by),
      closed: (name) => tell({ type: 'withdraw', name }),
    };
  }

  #means(): ProgramMeans {
    const { listen, waitReady, stopSignal } = this.#options;
    // One that has sockets is ready when it accepts on them.
    const mayAccept = listen.length > 0 || this.held.size > 0 || waitReady;
    const readyAfterMs = mayAccept ? this.#options.readyAfterMs : readyAfterOf(this.#options);
    const { path: folder } = this.#folder;
    const warn = (what: string) => this.#log.warn(what);
    const { own } = this;
    return {
      socketSet: (isBeside) => own.socketSet(isBeside),
      socketSetOf: (generation) => own.socketSetOf(generation),
      turned: () => own.keepChosen(),
      stopping: (generation) => this.#journal.write({ event: 'stopping', generation }),
      folder,
      exec: () => this.#files.find().exec,
      readyAfterMs,
      stopSignal,
      outputs: this.#outputFile === undefined ? undefined : this.#outputs,
      warn,
    };
  }

  // Programs do not come back by themselves: the one that served serves, and what else is left comes to its end.
  #resume(living: readonly GenerationProcess[]): void {
    const entries = this.#journal.read();
    const current = servedLast(entries);
    // To many servers a second stop signal means at once.
    const isStopping = (number: number) =>
      entries.some(({ event, generation }) => event === 'stopping' && generation === number);
    for (const one of living) {
      if (one.number === current) this.#first.servingState.servesAgain(one, this.#first.generations.epoch);
      else if (one instanceof ProgramGeneration) one.comeToEnd(isStopping(one.number));
    }
  }

  #state(): SupervisorState {
    if (this.#shutdown.state !== undefined) return this.#shutdown.state;
    const slots = this.#slots.staying;
    if (slots.some((slot) => !slot.serves && slot.crashRecovery.isWaiting)) return 'waiting';
    const isHandingOver = slots.some(
      ({ restarts, outgoingTakeover }) => restarts.isHandingOver || outgoingTakeover.isUnderWay,
    );
    if (isHandingOver || (this.#hasSlots && this.#rollingRestart.isUnderWay)) return 'restarting';
    this.#hasBeenWhole ||= slots.length >= this.#slotStartup.expected;
    if (!this.#hasBeenWhole || !slots.every(({ serves }) => serves)) return 'starting';
    const isUnseen = ({ generations: { current } }: Slot) => current !== undefined && isUnfound(current);
    return slots.some(isUnseen) ? 'verifying' : 'serving';
  }

  #upgrade(control: number | undefined, onFailure: (error: MoultError) => void): void {
    this.#log.info('upgrading the supervisor in place');
    try {
      this.#shutdown.assertNotBegun();
      const bound = control === undefined ? {} : { control };
      this.#next.become(this.held.keepOverExec(), { ...bound, restarts: this.#owed !== undefined });
    } catch (error) {
      this.#isBeingReplaced = false;
      if (control !== undefined) this.#connectionRouter.resume(this.#folder.control, control);
      this.#log.error(`the supervisor could not be replaced (${String(error)}) and keeps running`);
      const { message } = asMoultError(error, 'MOULT_SYSTEM_CALL');
      onFailure(new MoultError('MOULT_UPGRADE_FAILED', message, { serving: 'unchanged' }));
      this.#owed?.();
      this.#owed = undefined;
    }
  }

  async #check(generation: GenerationProcess): Promise<void> {
    const { check } = this.#options;
    if (check === null) return;
    const first = this.held
      .describe()
      .items.find(({ family, spare }) => (family === 'tcp' || family === 'unix') && !spare);
    const isTls = first?.ticketKeys !== undefined;
    await runCheck(generation, check, isTls, this.#folder.path);
  }
}

function severalSlots(): MoultError {
  const what = 'this service runs in slots, which cannot be taken over: stop it, or restart it in place';
  return new MoultError('MOULT_BAD_OPTION', what);
}

function runsAlone(): MoultError {
  const what =
    'this service must never run twice (--changeover exclusive), which a take-over would do: stop it, or restart it in place';
  return new MoultError('MOULT_BAD_OPTION', what);
}

/** How long after its start a service that shows no listener is taken for ready, in milliseconds. */
function readyAfterOf({ readyAfterMs, readyTimeoutMs }: SupervisorOptions): number {
  return readyAfterMs ?? Math.min(READY_AFTER_MS, readyTimeoutMs / 2);
}
