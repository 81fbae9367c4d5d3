import type { Logger } from 'pino';
import { namesOf } from '../../lifecycle/listener-names.js';
import { wallClockMs } from '../../os/clock.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';

/** What is said of a generation that serves. */
export interface ServingNoticeParts {
  readonly generations: Generations;
  readonly held: HeldListeners;
  readonly options: SupervisorOptions;
  readonly log: Logger;
}

/** Says in the log on what a generation serves that follows nobody, and by what it was taken for ready. */
export class ServingNotice {
  readonly #parts: ServingNoticeParts;
  #hasToldWhyReady = false;

  constructor(parts: ServingNoticeParts) {
    this.#parts = parts;
  }

  /** A generation that follows nobody has been found from outside. */
  servesAlone(generation: GenerationProcess): void {
    const { late = new Set<string>() } = generation;
    const size = this.#parts.held.names().filter((name) => !late.has(name)).length;
    const what = size === 0 ? 'without a listener' : `${size} listener${size === 1 ? '' : 's'}`;
    const waits = late.size === 0 ? '' : `; ${namesOf([...late])} is held until it listens there`;
    this.#parts.log.info(
      `generation ${generation.number} serves ${what} (process ${generation.servicePid})${waits}`,
    );
    this.#tellWhyReady(generation, size);
  }

  // Once: what is taken for its being ready is to be known, in case that it is not.
  #tellWhyReady({ startedAt, number }: GenerationProcess, listeners: number): void {
    const { generations, options, log } = this.#parts;
    if (listeners > 0 || options.isProgram || generations.sayReady || this.#hasToldWhyReady) return;
    this.#hasToldWhyReady = true;
    log.info(
      `generation ${number} has opened no listener in ${Math.round(wallClockMs() - startedAt)} ms: it counts as ready because it is running ` +
        "(set the time with --ready-after, or call process.send('ready') when it is ready)",
    );
  }
}
