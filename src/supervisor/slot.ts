import type { Logger } from 'pino';
import type { Channel } from '../channel/channel.js';
import type { ServiceManagerLink } from '../starter/service-manager.js';
import { Adoption } from './adoption.js';
import { Cession } from './cession.js';
import type { Ending } from './ending.js';
import type { GenerationProcess } from './generation-process.js';
import { Generations } from './generations.js';
import type { HeldListeners } from './held-listeners.js';
import type { Journal } from './journal.js';
import { listenTo } from './lifeline.js';
import type { Numbers } from './numbers.js';
import type { SupervisorOptions } from './options.js';
import { Probation } from './probation.js';
import type { Outputs } from './process-tree.js';
import type { ServiceCommand } from './release.js';
import { Releases } from './releases.js';
import { Restarts } from './restarts.js';
import { Reviver } from './reviver.js';
import type { RunFolder } from './run-folder.js';
import { Succession } from './succession.js';

/** What all slots of a service have in common. */
export interface SlotSurroundings {
  readonly folder: RunFolder;
  readonly service: ServiceCommand;
  readonly options: SupervisorOptions;
  readonly outputs: Outputs;
  readonly numbers: Numbers;
  readonly held: HeldListeners;
  readonly manager: ServiceManagerLink;
  readonly ending: Ending;
  readonly journal: Journal;
  readonly log: Logger;
  /** Makes the configured check; rejects when it fails. */
  readonly check: (generation: GenerationProcess) => Promise<void>;
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
  readonly #surroundings: SlotSurroundings;

  constructor(surroundings: SlotSurroundings) {
    this.#surroundings = surroundings;
    const { folder, options, outputs, journal, log, numbers, manager, check } = surroundings;
    // From what is told to what tells: each knows only those above it.
    this.generations = new Generations(folder.control, options, outputs, journal, log, numbers);
    this.probation = new Probation(options, check);
    this.reviver = new Reviver(this.generations, this.releases, (what) => {
      log.error(what);
      manager.tell(what);
    });
    this.restarts = new Restarts(this.#with({}), (successor) => this.succession.over(successor));
    this.cession = new Cession(this.#with({ restarts: this.restarts }));
    this.succession = new Succession(this.#with({ restarts: this.restarts, cession: this.cession }));
    this.adoption = new Adoption(this.#with({ restarts: this.restarts, succession: this.succession }));
    this.generations.onExited((generation, exit) => this.succession.exited(generation, exit));
  }

  /** Listens to what one of its generations says. */
  readonly listen = (generation: GenerationProcess, channel: Channel): void => {
    const { restarts, succession, cession } = this;
    listenTo(generation, channel, this.#with({ restarts, succession, cession }));
  };

  #with<T extends object>(others: T) {
    const { generations, probation, releases, reviver } = this;
    return { ...this.#surroundings, generations, probation, releases, reviver, ...others };
  }
}
