import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import { asWrittenOver, type Release } from '../releases/release.js';
import { changedUnder, named } from '../releases/release-files.js';

/** Notices where a release that has proved itself starts once more, and its files hold something else by now. */
export class StartedFiles {
  readonly #generations: Generations;
  readonly #tell: (what: string) => void;
  readonly #lookedAt = new WeakMap<GenerationProcess, Promise<void>>();

  constructor(generations: Generations, tell: (what: string) => void) {
    this.#generations = generations;
    this.#tell = tell;
  }

  /** Settles when it is known of what release one is that was looked at; undefined for others. */
  isKnown(generation: GenerationProcess): Promise<void> | undefined {
    return this.#lookedAt.get(generation);
  }

  /**
   * Looks in the background. What starts is another release where files have changed, which has to prove itself; it may be
   * all that there is to start.
   * @param later the release that was started last from these files.
   */
  look(started: GenerationProcess, later: Release): void {
    this.#lookedAt.set(
      started,
      this.#look(started, later).catch(() => {}),
    );
  }

  async #look(started: GenerationProcess, later: Release): Promise<void> {
    const { release } = started;
    const changed = await changedUnder(release, later);
    if (changed.length === 0 || started.exit !== undefined) return;
    this.#generations.isOf(started, asWrittenOver(release));
    this.#tell(
      `generation ${started.number} is not the last good release: its files were changed since (${named(changed)}), so it starts the changed files`,
    );
  }
}
