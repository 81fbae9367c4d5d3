import type { Logger } from 'pino';
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
  readonly shutdown: Pick<Shutdown, 'hasBegun' | 'finish' | 'stop'>;
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
}

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

  /** A handover to this successor is over: it, and the one from which it was to take over, may both be gone. */
  over(successor: GenerationProcess): void {
    if (this.isForsaken()) this.#parts.crashRecovery.revive(successor, 'failed');
  }

  /** A generation has ended. */
  exited(generation: GenerationProcess, exit: Exit): void {
    const { generations, restarts, releases, crashRecovery, shutdown, outgoingTakeover, manager, log } =
      this.#parts;
    const successor = generations.all().find((one) => one.predecessor === generation && !one.isEnding);
    const hasHeir = successor !== undefined && successor.servingSince === undefined;
    // The predecessor died before it had committed: the successor takes over as soon as it is ready.
    if (hasHeir && successor.claims !== undefined) this.#successors.commit(successor);
    if (successor !== undefined && !hasHeir) {
      // There is nobody left to go back to.
      this.#successors.goesOnAlone(generation, successor);
      restarts.handoverTo(successor)?.predecessorLost();
    }
    if (shutdown.hasBegun || outgoingTakeover.outlives(generation)) return;
    // What follows while this supervisor takes over is decided there; another one's is not ours to replace.
    if ((generations.areArriving || !generation.isOurs) && !hasHeir) return;
    if (generations.isChangingOver) {
      // It was asked to: what follows is decided there.
      if (generation === generations.current) generations.current = undefined;
    } else if (generation === generations.current) this.#crashed(generation, exit, hasHeir);
    // A successor that failed is not the service, whatever is known of the one that serves.
    else if (this.#isOnly(generation) && releases.lastGood() === undefined && !generation.isAdopted) {
      const when = exit.notStarted === undefined ? ' before it was ready' : '';
      const what = `the service ${describeExit(exit)}${when}`;
      log.error(what);
      manager.tell(what);
      shutdown.finish(exit.code === null || exit.code === 0 ? 1 : exit.code);
    } else if (this.isForsaken()) crashRecovery.revive(generation, describeExit(exit));
    else if (generation.servingSince !== undefined && !generation.isEnding) {
      log.warn(`generation ${generation.number} ${describeExit(exit)} while it was draining`);
    }
  }

  /** Whether nobody serves besides it, nor is about to. */
  #isOnly({ predecessor }: GenerationProcess): boolean {
    const { generations } = this.#parts;
    const hasPredecessor = predecessor !== undefined && predecessor.exit === undefined;
    return !hasPredecessor && generations.current === undefined && generations.starting() === undefined;
  }

  #crashed(generation: GenerationProcess, exit: Exit, hasHeir: boolean): void {
    const { generations, probation, crashRecovery, shutdown, options, journal, log } = this.#parts;
    generations.current = undefined;
    // Its predecessor is in probation and resumes: it says so itself.
    if (probation.successor === generation && probation.predecessor?.isReachable) return;
    // One that was told to hand back, or has drained, did not end by its own will.
    const hasChosen = !generation.isEnding && !generation.isUndone;
    // One of several processes is not the service; and one that ends in its probation has not proved that it is done.
    const isDone =
      generation.isProved && exit.code === 0 && options.restart === 'on-failure' && options.slots === null;
    const isOver = hasChosen && isDone;
    if (!hasHeir && (isOver || (hasChosen && options.restart === 'never'))) {
      log.info(`the service ${describeExit(exit)} and is over`);
      shutdown.stop(exit.code ?? 1).catch(() => {});
      return;
    }
    this.#crashes += 1;
    const { number } = generation;
    const output = generation.lastLines.slice(-OUTPUT_LINES);
    const { code, signal } = exit;
    journal.write({ event: 'crashed', generation: number, code, signal }, { output });
    if (hasHeir) {
      log.error(`generation ${generation.number} ${describeExit(exit)}; its successor takes over`);
      return;
    }
    crashRecovery.revive(generation, describeExit(exit));
  }

  /** Whether nobody serves, starts, is waited for, or will resume, although somebody should. */
  isForsaken(): boolean {
    const { generations, probation, crashRecovery, shutdown } = this.#parts;
    const isServed = generations.current !== undefined || generations.starting() !== undefined;
    return (
      !isServed &&
      !generations.areArriving &&
      !generations.isChangingOver &&
      !shutdown.hasBegun &&
      !crashRecovery.isWaiting &&
      !probation.canResume
    );
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
