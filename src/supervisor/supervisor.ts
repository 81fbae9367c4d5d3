import type { Logger } from 'pino';
import { MoultError } from '../errors.js';
import type { RestartSummary } from '../lifecycle/restart-record.js';
import { wallClockMs } from '../os/clock.js';
import type { ServiceManagerLink } from '../starter/service-manager.js';
import { MOULT_VERSION } from '../version.js';
import { runCheck } from './check.js';
import { Ending } from './ending.js';
import type { GenerationProcess } from './generation-process.js';
import { HeldListeners, type KeptListener } from './held-listeners.js';
import { historyOf } from './history.js';
import { Journal } from './journal.js';
import { Numbers } from './numbers.js';
import { serveOperator } from './operator.js';
import type { SupervisorOptions } from './options.js';
import type { Outputs } from './process-tree.js';
import { Reception } from './reception.js';
import { type Release, resolveRelease, type ServiceCommand } from './release.js';
import type { RestartRequest, Watcher } from './restarts.js';
import type { RunFolder } from './run-folder.js';
import { Slot } from './slot.js';
import { generationStatus, type ServiceStatus, type SupervisorState } from './status.js';
import { type Giver, TakeOver } from './take-over.js';

const UPGRADE_DELAY_MS = 50;

/** Starts generations of one service, keeps copies of their listeners, and replaces them on request. */
export class Supervisor {
  /** Settles with the exit code of `moult run`. */
  readonly ended: Promise<number>;
  readonly held: HeldListeners;
  readonly #folder: RunFolder;
  readonly #service: ServiceCommand;
  readonly #options: SupervisorOptions;
  readonly #log: Logger;
  readonly #replaceProgram: (held: readonly KeptListener[]) => never;
  readonly #startedAt = wallClockMs();
  readonly #journal: Journal;
  readonly #slot: Slot;
  readonly #ending: Ending;
  readonly #reception: Reception;
  readonly #manager: ServiceManagerLink;
  readonly #takeOver: TakeOver;

  constructor(
    folder: RunFolder,
    service: ServiceCommand,
    options: SupervisorOptions,
    log: Logger,
    outputs: Outputs,
    replaceProgram: (held: readonly KeptListener[]) => never,
    manager: ServiceManagerLink,
  ) {
    this.#folder = folder;
    this.#service = service;
    this.#options = options;
    this.#log = log;
    this.#replaceProgram = replaceProgram;
    this.#manager = manager;
    this.held = new HeldListeners(manager.store);
    const journal = new Journal(folder.journal, (error) =>
      log.error(`the journal cannot be written (${String(error)}); the service goes on without it`),
    );
    this.#journal = journal;
    const { held } = this;
    const ending = new Ending({ slots: () => [this.#slot], held, manager, options, journal, log });
    const check = (generation: GenerationProcess) => this.#check(generation);
    const numbers = new Numbers();
    const surroundings = { folder, service, options, outputs, numbers, held, manager, ending, journal, log };
    this.#slot = new Slot({ ...surroundings, check });
    this.#ending = ending;
    this.#reception = new Reception({
      ...this.#slot,
      held,
      serve: (channel) => serveOperator(channel, this),
      cede: (channel) => this.#slot.cession.receive(channel),
      cameBack: (generation, how) => this.#takeOver.cameBack(generation, how),
    });
    const reception = this.#reception;
    this.#takeOver = new TakeOver({ ...this.#slot, held, ending, reception, folder, log, check });
    this.ended = ending.ended.finally(() => {
      this.#reception.close();
      manager.close();
    });
  }

  /** Whether no generation lives here. */
  get isEmpty(): boolean {
    return this.#slot.generations.own().length === 0;
  }

  /** Whether the run folder is, or will be again, another supervisor's: then it stays. */
  get leavesFolder(): boolean {
    return this.#slot.cession.hasCededFolder || this.#takeOver.isGuest;
  }

  /**
   * Opens the door, and takes over the generations that an earlier supervisor left, or starts the first.
   * @param giver the supervisor from which the first takes over, where there is one.
   * @throws MOULT_BAD_OPTION when the command cannot be resolved; MOULT_PEER_TIMEOUT when an earlier
   *   generation lives but does not come back; any code of a handover when a take-over failed.
   */
  async start(giver?: Giver): Promise<void> {
    const release = resolveRelease(this.#service);
    // What the journal of a folder that both have tells is of the other's.
    const living = giver?.sharesFolder && giver.ask() ? [] : this.#slot.adoption.recover(release);
    await this.#reception.open(this.#folder.control);
    this.#journal.write({ event: 'run', pid: process.pid, command: release.label });
    const begin = () => this.#begin(release, giver);
    if (living.length > 0) await this.#slot.adoption.allBack(living, giver && begin);
    else await begin();
  }

  /**
   * Replaces the running generation by what the command's paths hold now.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover; `serving` tells who serves.
   */
  async restart(
    request: RestartRequest,
    watch: Watcher = () => {},
    release?: Release,
  ): Promise<RestartSummary> {
    this.#ending.assertNotBegun();
    this.#slot.cession.assertNone();
    const watchAll: Watcher = (event) => {
      this.#manager.stage(event);
      watch(event);
    };
    return this.#manager.reload(
      () => this.#slot.restarts.restart(request, watchAll, release),
      () => this.#slot.succession.servingStatus(),
    );
  }

  /**
   * Gives the service back to the release before: within probation at once, later by starting it again.
   * @returns the generation that serves.
   * @throws MOULT_NOTHING_TO_ROLL_BACK, or any code of a handover.
   */
  async rollback(watch: Watcher = () => {}): Promise<{ generation: number; how: 'resumed' | 'restarted' }> {
    const resumed = await this.#slot.probation.takeBack();
    if (resumed !== undefined && this.#slot.generations.current === resumed)
      return { generation: resumed.number, how: 'resumed' };
    const release = this.#slot.releases.before();
    if (release === undefined) {
      throw new MoultError('MOULT_NOTHING_TO_ROLL_BACK', 'no release before this one has proved itself here');
    }
    const request = {
      ifBusy: 'wait',
      allowFewerListeners: true,
      untilConfirmed: false,
      whenQuiet: null,
    } as const;
    const summary = await this.restart(request, watch, release);
    return { generation: summary.generation, how: 'restarted' };
  }

  /** Past restarts, oldest first. */
  history(): Record<string, unknown>[] {
    return historyOf(this.#journal.read());
  }

  /** Ends the service: what is in flight is finished, up to the drain time-out; a second call ends it at once. */
  stop(): Promise<void> {
    return this.#slot.cession.finishBeforeStop() ?? this.#takeOver.giveBack() ?? this.#ending.stop();
  }

  /**
   * Replaces this process's program by the one that its path holds now, in a moment, so that the answer gets
   * out first. The generations serve on and come back to it.
   * @throws MOULT_RESTART_IN_PROGRESS, MOULT_STOPPING
   */
  upgradeSoon(): { pid: number } {
    this.#ending.assertNotBegun();
    this.#slot.cession.assertNone();
    this.#takeOver.assertProved();
    if (this.#slot.restarts.isUnderWay || this.#slot.generations.current === undefined) {
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'a generation is just taking over, or none serves');
    }
    setTimeout(() => this.#upgrade(), UPGRADE_DELAY_MS);
    return { pid: process.pid };
  }

  /** Lets go of everything after a failed start; generations that live go on. */
  abandon(): void {
    this.#ending.finish(1);
  }

  /** What runs now. */
  async status(): Promise<ServiceStatus> {
    const generations = await Promise.all(this.#slot.generations.all().map(generationStatus));
    return {
      name: this.#folder.name,
      pid: process.pid,
      version: MOULT_VERSION,
      state: this.#state(),
      command: this.#service.words.join(' '),
      startedAt: this.#startedAt,
      restarts: this.#slot.restarts.succeeded,
      crashes: this.#slot.succession.crashes,
      generations,
    };
  }

  async #begin(release: Release, giver: Giver | undefined): Promise<void> {
    const offer = giver?.ask();
    if (giver !== undefined && offer !== undefined) await this.#takeOver.begin(giver, offer, release);
    // A release that listens elsewhere than the one before must not wait for what the unit passed.
    else this.#slot.generations.start(release, this.#slot.generations.settings(this.held.size > 0));
  }

  #state(): SupervisorState {
    if (this.#ending.state !== undefined) return this.#ending.state;
    if (this.#slot.generations.current === undefined && this.#slot.reviver.isWaiting) return 'waiting';
    if (this.#slot.restarts.isHandingOver || this.#slot.cession.isUnderWay) return 'restarting';
    return this.#slot.generations.current === undefined ? 'starting' : 'serving';
  }

  #upgrade(): void {
    this.#log.info('upgrading the supervisor in place');
    try {
      this.#replaceProgram(this.held.keepOverExec());
    } catch (error) {
      this.#log.error(`the supervisor could not be replaced (${String(error)}) and goes on as it was`);
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
