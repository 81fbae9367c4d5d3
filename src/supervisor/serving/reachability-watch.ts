import type { Logger } from 'pino';
import { asMoultError } from '../../errors.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { Teller } from './teller.js';

/** How long after it was not found from outside a generation that serves alone is looked at again. */
const LOOK_AGAIN_MS = 1000;

/** What it takes to look at generations until clients reach them. */
export interface ReachabilityWatchParts {
  readonly generations: Generations;
  readonly look: OutsideLook;
  readonly manager: Teller;
  readonly log: Logger;
}

/**
 * Looks from outside at generations that serve alone, until clients reach them: nobody can be gone back to, so who operates
 * the service is told, and the generation is not said to serve until it has been found.
 */
export class ReachabilityWatch {
  readonly #parts: ReachabilityWatchParts;
  /** The looks that are not over. */
  readonly #looking = new Map<GenerationProcess, Promise<boolean>>();

  constructor(parts: ReachabilityWatchParts) {
    this.#parts = parts;
  }

  /** The look at this generation that is under way. */
  underWay(generation: GenerationProcess): Promise<boolean> | undefined {
    return this.#looking.get(generation);
  }

  /** Looks until clients reach it. @returns false when it ends, or serves no more, before they do. */
  begin(generation: GenerationProcess): Promise<boolean> {
    const look = this.#untilFound(generation).finally(() => this.#looking.delete(generation));
    this.#looking.set(generation, look);
    return look;
  }

  /** Tells when a generation that serves has been found from outside; never of one that does not serve any more. */
  whenFound(generation: GenerationProcess, tell: () => void): void {
    const { generations } = this.#parts;
    const looking = this.#looking.get(generation) ?? Promise.resolve(generation.found.isThere);
    looking.then((isFound) => {
      if (isFound && generations.current === generation && generation.exit === undefined) tell();
    });
  }

  async #untilFound(generation: GenerationProcess): Promise<boolean> {
    const { generations, look, log, manager } = this.#parts;
    for (let isTold = false; ; ) {
      try {
        if ((await look.whenIdle(generation)) !== undefined) {
          if (isTold) log.info(`clients reach generation ${generation.number}`);
          return true;
        }
        if (generations.current !== generation || generation.exit !== undefined) return false;
        continue;
      } catch (error) {
        const isStill = generations.current === generation && generation.exit === undefined;
        if (!isStill || generations.machine.isOver) return false;
        const { message, code } = asMoultError(error, 'MOULT_NOT_REACHED');
        if (!isTold) {
          log.error(`${message} (${code}); moult keeps checking until they do`);
          manager.tell(message);
          isTold = true;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS).unref());
    }
  }
}
