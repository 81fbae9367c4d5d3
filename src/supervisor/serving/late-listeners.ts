import type { Logger } from 'pino';
import { namesOf } from '../../lifecycle/listener-names.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Teller } from './teller.js';

/** What it takes to follow the listeners that a generation has not come to yet. */
export interface LateListenersParts {
  readonly held: HeldListeners;
  readonly manager: Teller;
  readonly options: SupervisorOptions;
  readonly log: Logger;
}

/** Follows the listeners that are held for a generation on which it does not listen yet. */
export class LateListeners {
  readonly #parts: LateListenersParts;

  constructor(parts: LateListenersParts) {
    this.#parts = parts;
  }

  /** A generation has not come to listen in time on what was held for it. */
  missed(generation: GenerationProcess, name: string): void {
    generation.late?.delete(name);
    const { log, manager, options } = this.#parts;
    const what =
      `generation ${generation.number} has not listened on ${name} within ${options.readyTimeoutMs} ms (--ready-timeout): ` +
      'it is closed, and connections that waited there are reset';
    log.warn(what);
    manager.tell(what);
  }

  /** A generation has told of a listener that it has. */
  listens(generation: GenerationProcess, name: string): void {
    if (generation.late?.delete(name))
      this.#parts.log.info(`generation ${generation.number} listens on ${name} now`);
  }

  /** Whether the same release listens elsewhere than it did: it has found its port taken, by us. */
  haveMovedAway({ number, claims, late = new Set() }: GenerationProcess): boolean {
    const { held, options } = this.#parts;
    const names = held.names();
    return (
      options.slots === null &&
      late.size > 0 &&
      names.every((name) => late.has(name)) &&
      // What it had before, too, is only the first that it opens.
      [...(claims ?? [])].some((name) => !late.has(name) && !held.hadBefore(name, number))
    );
  }

  /** Starts it again as under any other supervisor: where nobody holds its port, and it finds it free. */
  startUnheld(generation: GenerationProcess): void {
    const { held, log } = this.#parts;
    const { claims, late = new Set<string>() } = generation;
    const opened = [...(claims ?? [])].filter((name) => !late.has(name));
    log.error(
      `generation ${generation.number} listens on ${namesOf(opened)} instead of ${namesOf([...late])}, which was held for it: ` +
        'it is stopped and started again without the held listener; connections that waited there are reset',
    );
    for (const name of opened) held.forget(name);
    for (const name of late) held.closeForGood(name);
    generation.kill();
  }
}
