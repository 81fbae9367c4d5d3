import { asMoultError } from '../../errors.js';
import { namesOf } from '../../lifecycle/listener-names.js';
import { wallClockMs } from '../../os/clock.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { Release } from '../releases/release.js';
import { removedFrom } from '../releases/release-files.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import { Backoff } from './backoff.js';
import { fallsSilent } from './other-changes.js';
import type { StartedFiles } from './started-files.js';

/** The pause before a crashed service starts again. */
export interface CrashWait {
  /** What became of the generation that served last, or was tried last. */
  readonly reason: string;
  /** When it is tried again, in milliseconds since 1970. */
  readonly nextStartAt: number;
  /** The last line that it wrote. */
  readonly lastLine?: string;
  /** On what the last good release listened, and nobody keeps open: its clients are refused until somebody listens there again. */
  readonly refused?: readonly string[];
  /** The path that the last good release cannot start without, and that was removed: it starts once that is there again. */
  readonly missing?: string;
}

const FIRST_TRY_MS = 100;
const LONGEST_TRY_MS = 2000;
/** How often it looks whether what was removed of a release is there again. */
const LOOK_MS = 2000;

/** On what the next one is to listen. */
export interface ListenersAfterCrash {
  /** What is asked of the one after this one; undefined for all that is held. */
  expected(before: GenerationProcess): readonly string[] | undefined;
  /** The names of those that are held. */
  held(): readonly string[];
}

/** Starts the last good release again when nobody serves, later and later while it keeps crashing. */
export class CrashRecovery {
  readonly #generations: Generations;
  readonly #releases: ReleaseHistory;
  readonly #listeners: ListenersAfterCrash;
  readonly #files: StartedFiles;
  readonly #tell: (what: string) => void;
  readonly #before: ((release: Release) => Promise<Release>) | undefined;
  readonly #backoff = new Backoff();
  /** What keeps this machine from starting any process may be over soon, and a try costs nothing. */
  readonly #soon = new Backoff(FIRST_TRY_MS, LONGEST_TRY_MS);
  #timer: NodeJS.Timeout | undefined;
  #dueAt: number | undefined;
  #reason = '';
  #lastLine: string | undefined;
  #missing: string | undefined;

  /**
   * @param tell says that nobody serves, why, and what will be.
   * @param before what is to be done before the next one may begin, where there is something; the release to start.
   */
  constructor(
    generations: Generations,
    releases: ReleaseHistory,
    listeners: ListenersAfterCrash,
    files: StartedFiles,
    tell: (what: string) => void,
    before?: (release: Release) => Promise<Release>,
  ) {
    this.#generations = generations;
    this.#releases = releases;
    this.#listeners = listeners;
    this.#files = files;
    this.#tell = tell;
    this.#before = before;
  }

  /** Whether a start is due, or under way without anything serving yet. */
  get isWaiting(): boolean {
    return this.#generations.machine.is('waiting', 'reviving');
  }

  /** When the next start is due, in milliseconds since 1970; undefined when none is. */
  get dueAt(): number | undefined {
    return this.isWaiting ? this.#dueAt : undefined;
  }

  /** Why nobody serves, and when that is tried to change; undefined when no start is due. */
  get wait(): CrashWait | undefined {
    if (!this.isWaiting || this.#dueAt === undefined) return undefined;
    const lastLine = this.#lastLine === undefined ? {} : { lastLine: this.#lastLine };
    const missing = this.#missing === undefined ? {} : { missing: this.#missing };
    const refused = this.#refused();
    return {
      reason: this.#reason,
      nextStartAt: this.#dueAt,
      ...lastLine,
      ...missing,
      ...(refused.length === 0 ? {} : { refused }),
    };
  }

  /** Nobody serves since this generation ended, and the slot is `waiting`. @param what became of it. */
  revive(generation: GenerationProcess, what: string): void {
    const { servingSince } = generation;
    this.#wait(generation, what, servingSince === undefined ? 0 : wallClockMs() - servingSince);
  }

  /** @param servedMs how long it served: 0 where it is not the one that has ended just now. */
  #wait(generation: GenerationProcess, what: string, servedMs: number): void {
    const release = this.#releases.lastGood() ?? generation.release;
    const wasStarted = generation.exit?.notStarted === undefined;
    const waitMs = (wasStarted ? this.#backoff : this.#soon).next(servedMs);
    if (wasStarted) this.#soon.reset();
    this.#dueAt = wallClockMs() + waitMs;
    this.#reason = `generation ${generation.number} ${what}`;
    this.#lastLine = generation.lastLine;
    const when = waitMs === 0 ? 'now' : `in ${waitMs} ms`;
    this.#tell(
      `generation ${generation.number} ${what}; ${this.#whatClientsSee()}, the last good release starts ${when}`,
    );
    const expects = this.#listeners.expected(generation);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#startWhenFree(generation, release, expects), waitMs);
  }

  #startWhenFree(before: GenerationProcess, release: Release, expects: readonly string[] | undefined): void {
    if (this.#before === undefined) {
      this.#start(before, release, expects);
      return;
    }
    const timer = this.#timer;
    // Meanwhile somebody else may have been started, or is waited for anew.
    const isDue = () => this.#generations.machine.is('waiting') && this.#timer === timer;
    this.#before(release)
      .then((prepared) => {
        if (isDue()) this.#start(before, prepared, expects);
      })
      .catch((error) => {
        const { message } = asMoultError(error, 'MOULT_SYSTEM_CALL');
        if (isDue()) this.#wait(before, `could not be replaced (${message})`, 0);
      });
  }

  /** @returns whether something was removed without which this release cannot start: then nothing is started, and it looks again. */
  #awaitsFiles(before: GenerationProcess, release: Release, expects: readonly string[] | undefined): boolean {
    const missing = removedFrom(release);
    const isNew = missing !== undefined && missing !== this.#missing;
    this.#missing = missing;
    if (missing === undefined) return false;
    const others = this.#releases.before() === undefined ? '' : ', moult rollback the one before it';
    if (isNew)
      this.#tell(
        `the last good release cannot start: ${missing} was removed; ${this.#whatClientsSee()}. It starts once that is there again; moult restart starts another release${others}`,
      );
    this.#dueAt = wallClockMs() + LOOK_MS;
    this.#timer = setTimeout(() => this.#startWhenFree(before, release, expects), LOOK_MS);
    return true;
  }

  // What one that served closed itself nobody keeps open.
  #refused(): string[] {
    const good = this.#releases.lastGood();
    const names = (good && this.#releases.listenersOf(good)) ?? [];
    const held = this.#listeners.held();
    return names.filter((name) => !held.includes(name));
  }

  #whatClientsSee(): string {
    const refused = this.#refused();
    if (refused.length === 0) return 'clients wait in the backlog';
    const others = this.#listeners.held().length === 0 ? '' : ', and those of other listeners wait';
    return `clients of ${namesOf(refused)} are refused until somebody listens there again${others}`;
  }

  // Its clients wait for it alone.
  async #endWhenSilent(next: GenerationProcess, withinMs: number): Promise<void> {
    if ((await fallsSilent(next, withinMs)) === undefined || next.isEnding) return;
    this.#tell(
      `generation ${next.number} has not answered for ${withinMs} ms (--ready-timeout) in its start: it hangs, and is killed`,
    );
    next.kill();
  }

  #start(before: GenerationProcess, release: Release, expects: readonly string[] | undefined): void {
    const { machine } = this.#generations;
    if (!machine.is('waiting') || this.#awaitsFiles(before, release, expects)) return;
    machine.on('retry');
    const settings = this.#generations.settings(true, { expects });
    let next: GenerationProcess;
    try {
      next = this.#generations.start(release, settings);
    } catch (error) {
      const what = `could not be replaced (${asMoultError(error, 'MOULT_SYSTEM_CALL').message})`;
      if (machine.on('revival-ended') === 'revive') this.#wait(before, what, 0);
      return;
    }
    next.isRevived = true;
    next.revives = before;
    this.#endWhenSilent(next, settings.readyTimeoutMs).catch(() => {});
    this.#files.look(next, before.release);
  }

  /** Somebody serves, or is started by others: nothing is due any more. */
  cancel(): void {
    this.#missing = undefined;
    clearTimeout(this.#timer);
  }
}
