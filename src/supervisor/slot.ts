import type { Logger } from 'pino';
import type { Line } from '../channel/line.js';
import { MoultError } from '../errors.js';
import { Deadline } from '../os/deadline.js';
import { Adoption } from './adoption.js';
import { Cession } from './cession.js';
import type { Ending } from './ending.js';
import { nothingLeft } from './exclusive-changeover.js';
import type { GenerationMaker } from './generation-maker.js';
import type { GenerationProcess } from './generation-process.js';
import { Generations } from './generations.js';
import type { HeldListeners } from './held-listeners.js';
import type { Journal } from './journal.js';
import type { KeptReleases } from './kept-releases.js';
import { listenTo } from './lifeline.js';
import type { Numbers } from './numbers.js';
import type { SupervisorOptions } from './options.js';
import type { OutsideLook } from './outside-look.js';
import { Probation } from './probation.js';
import type { Release, ServiceCommand } from './release.js';
import { Releases } from './releases.js';
import { Restarts } from './restarts.js';
import { Reviver } from './reviver.js';
import type { RunFolder } from './run-folder.js';
import { Succession, type Teller } from './succession.js';

/** What all slots of a service have in common. */
export interface SlotSurroundings {
  /** Which one it is, from 0 on; undefined where there are no others, and never will be. */
  readonly index: number | undefined;
  readonly folder: RunFolder;
  readonly service: ServiceCommand;
  readonly options: SupervisorOptions;
  /** Makes what makes generations. @param listen hears what one of them says. */
  readonly maker: (listen: Slot['listen']) => GenerationMaker;
  readonly numbers: Numbers;
  readonly held: HeldListeners;
  readonly kept: KeptReleases;
  /** Looks from outside whether a generation is found. */
  readonly look: OutsideLook;
  readonly manager: Teller;
  readonly ending: Ending;
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
  readonly releases = new Releases();
  readonly reviver: Reviver;
  readonly restarts: Restarts;
  readonly cession: Cession;
  readonly succession: Succession;
  readonly adoption: Adoption;
  readonly index: number | undefined;
  readonly #surroundings: SlotSurroundings;
  #isLeaving = false;

  constructor(surroundings: SlotSurroundings) {
    this.#surroundings = surroundings;
    const { index, options, journal, log, numbers, manager, check } = surroundings;
    this.index = index;
    // From what is told to what tells: each knows only those above it.
    this.generations = new Generations(options, surroundings.maker(this.listen), journal, log, numbers);
    this.probation = new Probation(options, check);
    // One of several may have listeners that the others have not.
    const expects = ({ number }: GenerationProcess) => {
      const names = index === undefined ? [] : surroundings.held.namesOf(number);
      return names.length === 0 ? undefined : names;
    };
    this.reviver = new Reviver(
      this.generations,
      this.releases,
      expects,
      (what) => {
        log.error(what);
        manager.tell(what);
      },
      this.#beforeRevival(),
    );
    this.restarts = new Restarts(this.#with({}), (successor) => this.succession.over(successor));
    this.cession = new Cession(this.#with({ restarts: this.restarts }));
    const ending = this.#endOfOne(surroundings.ending);
    this.succession = new Succession(this.#with({ restarts: this.restarts, cession: this.cession, ending }));
    this.adoption = new Adoption(this.#with({ restarts: this.restarts, succession: this.succession }));
    this.generations.onCurrent(surroundings.moved);
    this.generations.onExited((generation, exit) => this.succession.exited(generation, exit));
  }

  /** Listens to what one of its generations says. */
  readonly listen = (generation: GenerationProcess, channel: Line): void => {
    const { restarts, succession, cession } = this;
    generation.onDoor = this.#surroundings.moved;
    listenTo(generation, channel, this.#with({ restarts, succession, cession }));
  };

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
    const { generations, probation, reviver, restarts } = this;
    const { drainTimeoutMs, stopTimeoutMs, stopSignal } = this.#surroundings.options;
    generations.close();
    reviver.cancel();
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
    await Promise.all(generations.own().map((one) => one.exited));
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

  // What ends the service elsewhere is no affair of one slot that leaves.
  #endOfOne(ending: Ending): ConstructorParameters<typeof Succession>[0]['ending'] {
    const hasBegun = () => ending.hasBegun || this.#isLeaving;
    return {
      get hasBegun() {
        return hasBegun();
      },
      finish: (code) => ending.finish(code),
      stop: (code) => ending.stop(code),
    };
  }

  #with<T extends object>(others: T) {
    const { generations, probation, releases, reviver } = this;
    return { ...this.#surroundings, generations, probation, releases, reviver, ...others };
  }
}
