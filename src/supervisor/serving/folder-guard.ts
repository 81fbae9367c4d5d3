import type { Logger } from 'pino';
import { asMoultError } from '../../errors.js';
import type { Journal } from '../journal/journal.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { ConnectionRouter } from './connection-router.js';

/** How often it looks. A few calls of stat(2), since a watch of the kernel's ends with the folder it watches. */
const LOOK_MS = 1000;
/** How long a generation may take to listen at a socket that it was given. */
const DOOR_TIMEOUT_MS = 5000;

/** What is guarded, and with what. */
export interface FolderGuardParts {
  readonly folder: RunFolder;
  readonly connectionRouter: ConnectionRouter;
  readonly journal: Journal;
  /** Those that live: the paths of their sockets lie in the folder. */
  readonly generations: () => readonly GenerationProcess[];
  readonly log: Logger;
}

/** Keeps the run folder of a living supervisor as it must be, whatever is removed from the disk, or finds no room there. */
export class FolderGuard {
  readonly #parts: FolderGuardParts;
  #timer: NodeJS.Timeout | undefined;
  #failure = '';
  #isDisplaced = false;
  #isOurs = () => true;
  /** The generations whose socket was missing at the last look. */
  #withoutDoor = new Set<GenerationProcess>();
  /** Why it could not be made again, as it was told last. */
  #doorFailures = new WeakMap<GenerationProcess, string>();

  constructor(parts: FolderGuardParts) {
    this.#parts = parts;
  }

  /** Whether another process has taken the name, so that the folder is its own. */
  get isDisplaced(): boolean {
    return this.#isDisplaced;
  }

  /** Looks at once, and then now and then until it is stopped. @param isOurs whether the folder is this supervisor's alone now. */
  start(isOurs: () => boolean): void {
    this.#isOurs = isOurs;
    this.look();
    this.#timer = setInterval(() => {
      const { journal, log } = this.#parts;
      try {
        this.look();
        if (!this.#isOurs() || this.#isDisplaced) return;
        journal.compact();
        this.#mendDoors();
      } catch (error) {
        log.error(`the run folder could not be checked (${String(error)}); moult tries again`);
      }
    }, LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  // Most generations make their own anew within a look.
  #mendDoors(): void {
    const { generations, log } = this.#parts;
    const missing = generations().filter(
      ({ doorReplacement }) => !doorReplacement.isUnderWay && doorReplacement.isNeeded,
    );
    for (const one of missing.filter((generation) => this.#withoutDoor.has(generation))) {
      one.doorReplacement.make(DOOR_TIMEOUT_MS).then(
        () => {
          this.#doorFailures.delete(one);
          log.warn(`the socket of generation ${one.number} was missing and is created again`);
        },
        ({ message }: Error) => {
          if (this.#doorFailures.get(one) !== message)
            log.error(`${message}; until then generation ${one.number} cannot be replaced`);
          this.#doorFailures.set(one, message);
        },
      );
    }
    this.#withoutDoor = new Set(missing);
  }

  /** Makes anew what is missing: also before a process is started, which must find all of it. */
  look(): void {
    const { folder, connectionRouter, journal, log } = this.#parts;
    if (!this.#isOurs()) return;
    try {
      const missing = folder.restore();
      const hadNoDoor = connectionRouter.mend(folder.control);
      if (missing !== undefined) log.warn(`the run folder is created again: ${missing}`);
      else if (hadNoDoor) log.warn(`the socket ${folder.control} was missing and is created again`);
      journal.mend();
      this.#isDisplaced = false;
      this.#failure = '';
    } catch (error) {
      const told = asMoultError(error, 'MOULT_SYSTEM_CALL');
      this.#isDisplaced = told.code === 'MOULT_NAME_TAKEN';
      if (told.message !== this.#failure)
        log.error(
          `the run folder ${folder.path} cannot be created again (${told.message}); the service keeps running, but commands cannot find it`,
        );
      this.#failure = told.message;
    }
  }
}
