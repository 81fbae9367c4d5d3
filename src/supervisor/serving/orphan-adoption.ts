import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import type { JournalEntry } from '../../lifecycle/journal-entry.js';
import { Deadline } from '../../os/deadline.js';
import { isOfTree } from '../../os/processes/proc-tree.js';
import type { Message } from '../../protocol/messages.js';
import type { Journal } from '../journal/journal.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import { type LeftBehind, livingGenerations } from '../process/journal-replay.js';
import { leftDoors } from '../process/orphan-doors.js';
import type { KeptReleases } from '../releases/kept-releases.js';
import type { Release } from '../releases/release.js';
import { noteFolder } from '../releases/release-files.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import type { Probation } from '../restart/probation.js';
import type { RestartService } from '../restart/restart-service.js';
import type { ServingState } from './serving-state.js';

/** How long the generations that a dead supervisor left may take to come back to the next one. */
const REJOIN_TIMEOUT_MS = 5000;
const LOOK_MS = 50;

type Rejoin = NonNullable<Message<'hello'>['rejoin']>;

/** What an adoption finds out, and whom it tells. */
export interface OrphanAdoptionParts {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly servingState: ServingState;
  readonly probation: Probation;
  readonly releases: ReleaseHistory;
  readonly kept: Pick<KeptReleases, 'learn'>;
  readonly options: SupervisorOptions;
  readonly folder: Pick<RunFolder, 'path'>;
  readonly journal: Journal;
  readonly log: Logger;
}

/** Takes over what an earlier supervisor of the service left: its generations, and its count of them. */
export class OrphanAdoption {
  readonly #parts: OrphanAdoptionParts;
  /** Those that have not come back, and may yet. */
  readonly #awaited = new Set<GenerationProcess>();

  constructor(parts: OrphanAdoptionParts) {
    this.#parts = parts;
  }

  /**
   * Takes over what the journal tells.
   * @param entries of the journal, as they were read once: a second look might see less.
   * @param release completes what the journal does not keep, such as the environment.
   * @param untold generations that live and of which the journal does not tell.
   * @param known what was recovered for other slots, by what it was started from.
   * @returns the generations that still live.
   */
  recover(
    entries: readonly JournalEntry[],
    release: Release,
    untold: readonly LeftBehind[],
    known = new Map<string, Release>(),
  ): GenerationProcess[] {
    const { generations, releases, kept: keeper } = this.#parts;
    const { lastNumber, epoch, living: told, proved, listened, unseen, kept } = livingGenerations(entries);
    const living = [...told, ...untold].sort((a, b) => a.generation - b.generation);
    // What was started from the same is one release, as it was for the earlier supervisor after a rollback.
    const pinned = (startedFrom: LeftBehind['startedFrom']) => {
      // Of two that differ in a part only the copies tell.
      const key = JSON.stringify([startedFrom, kept.get(startedFrom)]);
      const one = known.get(key) ?? { ...release, ...startedFrom };
      known.set(key, one);
      return one;
    };
    for (const startedFrom of proved) releases.proved(pinned(startedFrom));
    for (const [startedFrom, names] of listened) releases.listened(pinned(startedFrom), names);
    for (const [startedFrom, noted] of unseen) releases.noteUnseen(pinned(startedFrom), noted);
    for (const [startedFrom, copy] of kept) keeper.learn(pinned(startedFrom), copy);
    generations.countOn(Math.max(lastNumber, ...untold.map(({ generation }) => generation)), epoch);
    const adopted = living.flatMap((left) => generations.adopt(left, pinned(left.startedFrom)) ?? []);
    // The earlier supervisor knew what their folders held at their start; what is written over from now on is noticed.
    const mayComeBack = [...adopted.map((one) => one.release), releases.lastGood(), releases.before()];
    for (const one of mayComeBack) if (one !== undefined) noteFolder(one);
    return adopted;
  }

  /**
   * Waits until those that live have come back, however long that takes: while one of them may serve there is nothing else
   * to do, and where this supervisor ended what it holds for them would end with it.
   * @param onGone is called where all of them end instead.
   */
  async allBack(living: readonly GenerationProcess[], onGone?: () => Promise<void>): Promise<void> {
    const { generations, servingState, log } = this.#parts;
    const [first] = living;
    if (first === undefined) return;
    const how = await this.#firstBack(living);
    if (how === 'gone' && onGone !== undefined) {
      await onGone();
      return;
    }
    if (how === 'gone') {
      // Its end may have been heard of already, or a restart have ended it.
      servingState.exits.nobodyLeft(first, 'ended while no supervisor ran');
      return;
    }
    // All have come, and those that live only finish what they have.
    if (how === 'all') servingState.exits.nobodyLeft(first, 'failed');
    // The others, such as a predecessor in probation, come back in their own time.
    await this.#othersBack(living);
    this.#proveUnopposed();
    const { current } = generations;
    if (current === undefined) return;
    servingState.reachability.whenFound(current, () =>
      log.info(`generation ${current.number} is adopted (process ${current.servicePid})`),
    );
  }

  /** @returns 'gone' when all have ended, 'served' when one serves here, 'all' when those that live have come, and none of them serves. */
  async #firstBack(living: readonly GenerationProcess[]): Promise<'gone' | 'served' | 'all'> {
    let how: 'gone' | 'served' | undefined;
    const gone = Promise.all(living.map((one) => one.exited));
    gone.then(() => {
      how ??= 'gone';
    });
    for (const { serves } of living)
      serves.then(() => {
        how ??= 'served';
      });
    const patienceMs = performance.now() + REJOIN_TIMEOUT_MS;
    let lostMs = performance.now() + Math.max(REJOIN_TIMEOUT_MS, this.#parts.options.readyTimeoutMs);
    for (let isTold = false; how === undefined; ) {
      const isLate = performance.now() >= patienceMs;
      const away = living.filter(isAway);
      if (isLate && away.length === 0) return 'all';
      if (isLate && !isTold) {
        isTold = true;
        this.#tellOfThoseAway(away);
      }
      if (performance.now() >= lostMs) {
        lostMs = Number.POSITIVE_INFINITY;
        this.#endThoseLost(away);
      }
      // Heard of at once: what is done where all have ended comes before the last good release is started.
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, LOOK_MS))]);
    }
    return how;
  }

  #tellOfThoseAway(away: readonly GenerationProcess[]): void {
    const which = away.map(({ number, pid }) => `generation ${number} (process ${pid})`).join(', ');
    const it = away.length === 1 ? 'it' : 'each of them';
    this.#parts.log.error(
      `${which}, left by an earlier supervisor, is running but has not reconnected within ${REJOIN_TIMEOUT_MS} ms: it is stopped, its event loop is blocked, ` +
        `or it has no descriptor free. moult keeps waiting for ${it}; moult restart --force kills it and starts a new one`,
    );
  }

  // One that has never served, and has no socket, has not met a supervisor, and is not ready in the time for that.
  #endThoseLost(away: readonly GenerationProcess[]): void {
    const { folder, options, log } = this.#parts;
    const doors = leftDoors(folder.path);
    for (const one of away) {
      if (one.hadServed || doors.some(({ pid }) => isOfTree(pid, one.pid) !== false)) continue;
      log.warn(`generation ${one.number} (process ${one.pid}) was never accepted and is killed`);
      one.isEnding = true;
      one.signalService(options.stopSignal);
      const late = new Deadline(options.stopTimeoutMs, () => one.kill()).unref();
      one.exited.then(() => late.clear());
    }
  }

  /** A generation has come back, and says how it stands. */
  rejoin(generation: GenerationProcess, { state, accepting, epoch, successor }: Rejoin): void {
    const { generations, restarts, servingState } = this.#parts;
    if (this.#awaited.delete(generation)) generation.isEnding = false;
    generation.lifeline?.send({ type: 'direct-output' });
    generations.reached(epoch);
    if (['committing', 'probation', 'verifying', 'draining', 'undoing'].includes(state))
      generation.hasServed();
    // A handover that lost its supervisor before commit is called off.
    if (['expecting', 'inheriting', 'ready'].includes(state) && !restarts.hasHandover) {
      const error = new MoultError('MOULT_HANDOVER_ABORTED', 'the supervisor was replaced');
      generation.lifeline?.send({ type: 'abort', error: error.report() });
    }
    // Both sides of a probation come back, in whichever order: if the one fails the other resumes.
    if (['committing', 'probation', 'verifying'].includes(state) && successor !== null)
      servingState.mayResume(generation, successor);
    if (state === 'verifying' && successor !== null) servingState.confirmation.verify(generation, successor);
    if (accepting && this.#isSecond(generation)) servingState.retire(generation);
    else if (accepting) {
      this.#callOffFirst();
      servingState.servesAgain(generation, epoch);
    } else if (state === 'serving') {
      generation.isEnding = true;
      generation.kill();
    }
  }

  // Where the journal lost the one that served another was started in its place: it must not accept for good.
  #isSecond(generation: GenerationProcess): boolean {
    const { current } = this.#parts.generations;
    return current !== undefined && current !== generation && !current.isAdopted && generation.isAdopted;
  }

  // Started because nothing was known of the one that serves. Where it has been let in already that one follows it.
  #callOffFirst(): void {
    const { generations, restarts, log } = this.#parts;
    const first = generations.starting();
    if (first === undefined || first.isAdopted || first.livingPredecessor !== undefined) return;
    if (first.claims !== undefined || restarts.handoverTo(first) !== undefined) return;
    log.warn(`generation ${first.number}, which was started instead, is stopped`);
    first.isEnding = true;
    first.kill();
  }

  async #othersBack(living: readonly GenerationProcess[]): Promise<void> {
    const limit = performance.now() + REJOIN_TIMEOUT_MS;
    while (living.some(isAway) && performance.now() < limit) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    for (const one of living) {
      if (!isAway(one) || one === this.#parts.generations.current) continue;
      if (one.hadServed) this.#waitFor(one);
      else one.kill();
    }
  }

  // It may have requests in progress, and what changes by them: it has as much time as one that is heard.
  #waitFor(one: GenerationProcess): void {
    const { drainTimeoutMs, probationMs, stopTimeoutMs } = this.#parts.options;
    one.isEnding = true;
    this.#awaited.add(one);
    const late = new Deadline(Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs, () => {
      if (isAway(one)) one.kill();
    }).unref();
    one.exited.then(() => late.clear());
  }

  // Its probation ended while no supervisor ran, or there is nobody left to go back to: then it is watched anew, alone.
  #proveUnopposed(): void {
    const { generations, probation, servingState } = this.#parts;
    const { current } = generations;
    if (current === undefined || current.isProved || probation.successor === current) return;
    if (current.livingPredecessor === undefined) servingState.confirmation.watchAlone(current);
    else servingState.confirmation.confirmed(current.number);
  }
}

function isAway(one: GenerationProcess): boolean {
  return one.exit === undefined && !one.isReachable;
}
