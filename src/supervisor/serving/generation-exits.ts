import type { Logger } from 'pino';
import type { ServiceAction, ServiceEvent } from '../../lifecycle/service-events.js';
import { wallClockMs } from '../../os/clock.js';
import { describeExit, type Exit } from '../../os/processes/process.js';
import type { Journal } from '../journal/journal.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import type { CrashRecovery } from '../restart/crash-recovery.js';
import type { Probation } from '../restart/probation.js';
import type { RestartService } from '../restart/restart-service.js';
import type { Shutdown } from './shutdown.js';
import type { Teller } from './teller.js';

/** How many of the last lines of what failed are told. */
export const OUTPUT_LINES = 20;

/** Whether another supervisor is taking over, so that the end of a generation here is not the end of its service. */
export interface SurvivingEnd {
  /** One has ended. @returns whether the service goes on all the same. */
  outlives(generation: GenerationProcess): boolean;
}

/** What follows from the end of a generation. */
export interface GenerationExitsParts {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly probation: Probation;
  readonly releases: ReleaseHistory;
  readonly crashRecovery: CrashRecovery;
  readonly manager: Teller;
  readonly shutdown: Pick<Shutdown, 'finish' | 'stop'>;
  readonly outgoingTakeover: SurvivingEnd;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly log: Logger;
}

/** What a successor does whose predecessor has ended. */
interface Successors {
  /** It is ready, and its predecessor died before it had committed: the commit is the supervisor's to give. */
  commit(successor: GenerationProcess): void;
  /** It accepts, and there is nobody left to go back to. */
  goesOnAlone(predecessor: GenerationProcess, successor: GenerationProcess): void;
  /** It was to hand back, and has not: it serves on. */
  servesOn(successor: GenerationProcess): void;
  /** It served, and has ended: what it had the next one is to have. */
  hadListeners(generation: GenerationProcess): void;
}

/** How long a successor may take to answer how it stands, and how often it is asked. */
const ANSWER_MS = 1000;
const ASK_AGAIN_MS = 50;

/** Decides what follows when a generation ends: its successor goes on, the last good release is started, or the service is over. */
export class GenerationExits {
  readonly #parts: GenerationExitsParts;
  readonly #successors: Successors;
  #crashes = 0;

  constructor(parts: GenerationExitsParts, successors: Successors) {
    this.#parts = parts;
    this.#successors = successors;
  }

  /** How often a generation that served has ended by itself. */
  get crashes(): number {
    return this.#crashes;
  }

  /** Something is over after which nobody may be left who serves, starts or would resume. @param what became of this one. */
  nobodyLeft(generation: GenerationProcess, what: string): void {
    const { generations, crashRecovery } = this.#parts;
    if (generations.current !== undefined || this.#isFollowed()) return;
    if (generations.machine.on('nobody-left') === 'revive') crashRecovery.revive(generation, what);
  }

  /** A generation has ended. */
  exited(generation: GenerationProcess, exit: Exit): void {
    const { generations, restarts, outgoingTakeover } = this.#parts;
    const { machine } = generations;
    const successor = generations.all().find((one) => one.predecessor === generation && !one.isEnding);
    const hasHeir = successor !== undefined && successor.servingSince === undefined;
    // The predecessor died before it had committed: the successor takes over as soon as it is ready.
    if (hasHeir && successor.claims !== undefined) this.#successors.commit(successor);
    if (successor !== undefined && !hasHeir) {
      // There is nobody left to go back to.
      this.#successors.goesOnAlone(generation, successor);
      restarts.handoverTo(successor)?.predecessorLost();
    }
    // Also of one that was confirmed, and had not told yet what has moved: nobody else will.
    else if (successor === undefined) restarts.handoverFrom(generation)?.predecessorLost();
    if (machine.isOver || outgoingTakeover.outlives(generation)) return;
    const wasCurrent = generation === generations.current;
    const event = wasCurrent
      ? this.#endOfCurrent(generation, exit, hasHeir)
      : this.#endOfOther(generation, successor !== undefined && !hasHeir);
    this.#follow(machine.on(event), generation, exit, wasCurrent);
  }

  /** What the end of the one that serves means. */
  #endOfCurrent(generation: GenerationProcess, exit: Exit, hasHeir: boolean): ServiceEvent {
    const { probation, options } = this.#parts;
    if (probation.successor === generation && probation.predecessor?.isReachable)
      return 'crashed-in-probation';
    if (hasHeir) return 'crashed-with-heir';
    // One of several processes is not the service; and one that ends in its probation has not proved that it is done.
    const isDone =
      generation.isProved && exit.code === 0 && options.restart === 'on-failure' && options.slots === null;
    // One that was told to hand back, or has drained, did not end by its own will.
    const hasChosen = !generation.isEnding && !generation.isUndone;
    return hasChosen && (isDone || options.restart === 'never') ? 'done' : 'crashed';
  }

  /** What the end of another one means. @param couldResume whether it was the predecessor of the one that serves. */
  #endOfOther(generation: GenerationProcess, couldResume: boolean): ServiceEvent {
    const { generations, releases } = this.#parts;
    if (couldResume) return 'predecessor-ended';
    const isServed = generations.current !== undefined;
    // A successor that failed is not the service, whatever is known of the one that serves.
    const isFirst = releases.lastGood() === undefined && !generation.isAdopted && generation.isOurs;
    const isOnly = generation.livingPredecessor === undefined && generations.starting() === undefined;
    if (!isServed && isFirst && isOnly) return 'first-ended';
    const hasBegun = generation.servingSince !== undefined || generation.isEnding;
    if (generation.isRevived && !hasBegun) return 'revival-ended';
    return isServed || this.#isFollowed() ? 'other-ended' : 'last-ended';
  }

  #follow(
    action: ServiceAction | undefined,
    generation: GenerationProcess,
    exit: Exit,
    wasCurrent: boolean,
  ): void {
    const { generations, crashRecovery, manager, shutdown, journal, log } = this.#parts;
    const { number } = generation;
    if (action === undefined) {
      const hasDrained = generation.isEnding || generation.servingSince === undefined;
      const isKnown = hasDrained || wasCurrent || !generation.isOurs;
      const isOpen = !generations.machine.is('changing-over', 'arriving', 'arrived');
      if (!isKnown && isOpen) log.warn(`generation ${number} ${describeExit(exit)} while it was draining`);
      return;
    }
    if (action === 'ask-successor') {
      void this.#askSuccessor(generation, exit);
      return;
    }
    if (wasCurrent) generations.current = undefined;
    if (action === 'end') {
      const when = exit.notStarted === undefined ? ' before it was ready' : '';
      const what = `the service ${describeExit(exit)}${when}`;
      log.error(what);
      manager.tell(what);
      shutdown.finish(exit.code === null || exit.code === 0 ? 1 : exit.code);
      return;
    }
    if (action === 'stop') {
      log.info(`the service ${describeExit(exit)} and is over`);
      shutdown.stop(exit.code ?? 1).catch(() => {});
      return;
    }
    if (wasCurrent && (action === 'revive' || action === 'await-heir')) {
      this.#crashes += 1;
      // What one has that has not proved itself is no measure.
      if (generation.isProved) this.#successors.hadListeners(generation);
      const output = generation.lastLines.slice(-OUTPUT_LINES);
      const { code, signal } = exit;
      journal.write({ event: 'crashed', generation: number, code, signal }, { output });
    }
    if (action === 'await-heir')
      log.error(`generation ${number} ${describeExit(exit)}; its successor takes over`);
    if (action === 'revive') crashRecovery.revive(generation, describeExit(exit));
  }

  // What a predecessor said just before it was killed may never be heard: with its word that it served again the service would
  // stand still until its successor, which knows of it, has drained.
  async #askSuccessor(predecessor: GenerationProcess, exit: Exit): Promise<void> {
    const { generations } = this.#parts;
    const { machine } = generations;
    const successor = generations.current;
    const isStill = () =>
      generations.current === successor &&
      successor?.isUndone &&
      successor.exit === undefined &&
      !machine.isOver;
    while (successor !== undefined && isStill()) {
      const { state } = (await successor.state(ANSWER_MS).catch(() => undefined)) ?? {};
      if (!isStill()) return;
      const hasHandedBack = state === 'draining' || state === 'ended';
      // Of a take-over it is about to be known whose the service is.
      if (hasHandedBack && !machine.is('giving-back')) {
        successor.isEnding = true;
        this.#follow(machine.on('crashed'), predecessor, exit, true);
        return;
      }
      if (state !== undefined && state !== 'returning' && !hasHandedBack) {
        this.#successors.servesOn(successor);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  /** Whether one starts, or would resume. */
  #isFollowed(): boolean {
    const { generations, probation } = this.#parts;
    return generations.starting() !== undefined || probation.canResume;
  }
}

/** What the journal keeps of a generation that was started because another had ended. */
export function revivalOf({
  number,
  revives,
  release,
  startedAt,
}: GenerationProcess): Record<string, unknown> {
  const lastLine = revives?.lastLine;
  return {
    generation: number,
    predecessor: revives?.number ?? null,
    release: release.label,
    tookMs: wallClockMs() - startedAt,
    ...(revives?.exit === undefined
      ? {}
      : { message: `generation ${revives.number} ${describeExit(revives.exit)}` }),
    ...(lastLine === undefined ? {} : { lastLine }),
  };
}
