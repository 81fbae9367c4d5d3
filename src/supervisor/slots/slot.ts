import type { Logger } from 'pino';
import type { Line } from '../../channel/line.js';
import { MoultError } from '../../errors.js';
import { Deadline } from '../../os/deadline.js';
import type { Journal } from '../journal/journal.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationFactory } from '../process/generation-factory.js';
import type { GenerationNumbers } from '../process/generation-numbers.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { Generations } from '../process/generations.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { UnseenWatch } from '../reachability/unseen-watch.js';
import type { KeptReleases } from '../releases/kept-releases.js';
import type { Release } from '../releases/release.js';
import { ReleaseHistory } from '../releases/release-history.js';
import { CrashRecovery } from '../restart/crash-recovery.js';
import { nothingLeft } from '../restart/exclusive-changeover.js';
import { Probation } from '../restart/probation.js';
import { RestartService } from '../restart/restart-service.js';
import { StartedFiles } from '../restart/started-files.js';
import type { ServiceSettings } from '../service-settings.js';
import { listenTo } from '../serving/generation-messages.js';
import { OrphanAdoption } from '../serving/orphan-adoption.js';
import { ServingState } from '../serving/serving-state.js';
import type { Shutdown } from '../serving/shutdown.js';
import type { Teller } from '../serving/teller.js';
import { OutgoingTakeover } from '../takeover/outgoing-takeover.js';

/** What all slots of a service have in common. */
export interface SlotSurroundings {
  /** Which one it is, from 0 on; undefined where there are no others, and never will be. */
  readonly index: number | undefined;
  readonly folder: RunFolder;
  readonly settings: ServiceSettings;
  readonly options: SupervisorOptions;
  /** Makes what makes generations. @param listen hears what one of them says. */
  readonly maker: (listen: Slot['listen']) => GenerationFactory;
  readonly numbers: GenerationNumbers;
  readonly held: HeldListeners;
  readonly kept: KeptReleases;
  /** Looks from outside whether a generation is found. */
  readonly look: OutsideLook;
  readonly unseen: UnseenWatch;
  readonly manager: Teller;
  readonly shutdown: Shutdown;
  readonly journal: Journal;
  readonly log: Logger;
  /** How many connections one has, as far as that is seen from outside. */
  readonly connections: (generation: GenerationProcess) => number;
  /** Makes the configured check; rejects when it fails. */
  readonly check: (generation: GenerationProcess) => Promise<void>;
  /** Where this slot is reached has changed. */
  readonly moved: () => void;
}

/** One process of the service at a time: generations that follow one another, each by a handover from the one before. */
export class Slot {
  readonly generations: Generations;
  readonly probation: Probation;
  readonly releases = new ReleaseHistory();
  readonly crashRecovery: CrashRecovery;
  readonly startedFiles: StartedFiles;
  readonly restarts: RestartService;
  readonly outgoingTakeover: OutgoingTakeover;
  readonly servingState: ServingState;
  readonly adoption: OrphanAdoption;
  readonly index: number | undefined;
  readonly #surroundings: SlotSurroundings;
  #isLeaving = false;

  constructor(surroundings: SlotSurroundings) {
    this.#surroundings = surroundings;
    const { index, options, journal, log, numbers, manager, check } = surroundings;
    this.index = index;
    // From what is told to what tells: each knows only those above it.
    this.generations = new Generations(options, surroundings.maker(this.listen), journal, log, numbers);
    this.probation = new Probation(options, check, (...who) => this.generations.undo(...who));
    // One of several may have listeners that the others have not.
    const expected = ({ number }: GenerationProcess) => {
      const names = index === undefined ? [] : surroundings.held.namesOf(number);
      return names.length === 0 ? undefined : names;
    };
    const tell = (what: string) => {
      log.error(what);
      manager.tell(what);
    };
    this.startedFiles = new StartedFiles(this.generations, tell);
    this.crashRecovery = new CrashRecovery(
      this.generations,
      this.releases,
      { expected, held: () => surroundings.held.names() },
      this.startedFiles,
      tell,
      this.#beforeRevival(),
    );
    this.restarts = new RestartService(this.#with({}), (successor) =>
      this.servingState.exits.nobodyLeft(successor, 'failed'),
    );
    this.outgoingTakeover = new OutgoingTakeover(this.#with({ restarts: this.restarts }));
    this.servingState = new ServingState(
      this.#with({ restarts: this.restarts, outgoingTakeover: this.outgoingTakeover }),
    );
    this.adoption = new OrphanAdoption(
      this.#with({ restarts: this.restarts, servingState: this.servingState }),
    );
    this.generations.onCurrent(surroundings.moved);
    this.generations.onExited((generation, exit) => this.servingState.exits.exited(generation, exit));
  }

  /** Listens to what one of its generations says. */
  readonly listen = (generation: GenerationProcess, channel: Line): void => {
    const { restarts, servingState, outgoingTakeover } = this;
    generation.onDoor = this.#surroundings.moved;
    listenTo(generation, channel, this.#with({ restarts, servingState, outgoingTakeover }));
  };

  /** Processes of this generation listen there, and moult does not see them: a rollback to its release is to bring them back. */
  noteUnseen({ number, release }: GenerationProcess, addresses: readonly string[]): void {
    this.releases.noteUnseen(release, { generation: number, addresses });
    this.#surroundings.journal.write({ event: 'unseen', generation: number, addresses });
  }

  /** Whether it is to end although the service goes on. */
  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  /** Whether one of its generations serves. */
  get serves(): boolean {
    return this.generations.current !== undefined;
  }

  /** Starts its first generation: there is none to take over from. */
  begin(release: Release, settings = this.generations.settings(true)): GenerationProcess {
    return this.generations.start(release, settings);
  }

  /**
   * Ends this slot while others of the service go on.
   * @param heirs the doors of generations to which its connections go.
   * @returns when its generations have ended.
   */
  async leave(heirs: readonly string[]): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#surroundings.moved();
    const { generations, probation, crashRecovery, restarts } = this;
    const { drainTimeoutMs, stopTimeoutMs, stopSignal } = this.#surroundings.options;
    generations.machine.on('stop');
    crashRecovery.cancel();
    probation.stop();
    restarts.callOff(new MoultError('MOULT_STOPPING', `slot ${this.index} is being stopped`));
    for (const one of generations.own()) {
      one.isEnding = true;
      if (one.isReachable && one.servingSince !== undefined)
        one.lifeline?.send({ type: 'retire', timeoutMs: drainTimeoutMs, keepOpen: true, heirs: [...heirs] });
      else one.signalService(stopSignal);
    }
    const late = new Deadline(drainTimeoutMs + stopTimeoutMs, () => {
      for (const one of generations.own()) one.kill();
    });
    await generations.allGone();
    late.clear();
  }

  #beforeRevival(): ((release: Release) => Promise<Release>) | undefined {
    const { options, kept, log } = this.#surroundings;
    const isExclusive = options.changeover === 'exclusive';
    if (!isExclusive && !kept.isOn) return undefined;
    return async (release) => {
      const nothing = isExclusive ? nothingLeft(this.generations, options, log) : undefined;
      // Where there is no copy what its files hold now is all there is, which is told.
      const asItWas = kept.isOn ? await kept.asItWas(release).catch(() => release) : release;
      this.releases.replace(release, asItWas);
      await nothing;
      return asItWas;
    };
  }

  #with<T extends object>(others: T) {
    const { generations, probation, releases, crashRecovery, startedFiles } = this;
    const own = { generations, probation, releases, crashRecovery, startedFiles };
    return { ...this.#surroundings, ...own, ...others };
  }
}
