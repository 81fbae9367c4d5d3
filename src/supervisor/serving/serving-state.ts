/*
 * Just over 300 lines: every way in which it changes who serves is here, so that they can be read against each other.
 */
import type { Logger } from 'pino';
import { asMoultError, type MoultError } from '../../errors.js';
import { namesOf } from '../../lifecycle/listener-names.js';
import { wallClockMs } from '../../os/clock.js';
import { Deadline } from '../../os/deadline.js';
import { describeExit, type Exit } from '../../os/processes/process.js';
import type { DrainReport, Message } from '../../protocol/messages.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import type { CrashRecovery } from '../restart/crash-recovery.js';
import type { LoneEnd, Probation } from '../restart/probation.js';
import type { RestartService } from '../restart/restart-service.js';
import type { Shutdown } from './shutdown.js';

/** How long the service may take to answer before the watchdog is let run on. */
const ANSWER_TIMEOUT_MS = 5000;
/** How many of the last lines of what failed are told. */
const OUTPUT_LINES = 20;
/** How long after it was not found from outside a generation that serves alone is looked at again. */
const LOOK_AGAIN_MS = 1000;

/** Who is told how the service does: the service manager, where there is one. */
export interface Teller {
  /** Somebody accepts. @param answers whether the service answers. */
  accepting(answers: () => Promise<boolean>): void;
  /** Somebody serves, as was seen from outside. @param answers whether the service answers. */
  serving(status: string, answers: () => Promise<boolean>): void;
  /** Something that lasts is to be known. */
  tell(what: string): void;
  /** Whether somebody was said to serve before. */
  readonly isReady: boolean;
}

/** Whether another supervisor is taking over, so that the end of a generation here is not the end of its service. */
export interface SurvivingEnd {
  outlives(generation: GenerationProcess): boolean;
}

/** What changes when another generation serves. */
export interface ServingStateParts {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly probation: Probation;
  readonly releases: ReleaseHistory;
  readonly crashRecovery: CrashRecovery;
  readonly held: HeldListeners;
  readonly look: OutsideLook;
  readonly manager: Teller;
  readonly shutdown: Pick<Shutdown, 'hasBegun' | 'finish' | 'stop'>;
  readonly outgoingTakeover: SurvivingEnd;
  readonly options: SupervisorOptions;
  readonly journal: Journal;
  readonly log: Logger;
}

/** Decides who serves, as generations come to serve, are confirmed, are undone, and end. */
export class ServingState {
  readonly #parts: ServingStateParts;
  #crashes = 0;
  #hasToldWhyReady = false;
  /** The looks at those that serve alone that are not over. */
  readonly #looking = new Map<GenerationProcess, Promise<boolean>>();

  constructor(parts: ServingStateParts) {
    this.#parts = parts;
  }

  /** How often a generation that served has ended by itself. */
  get crashes(): number {
    return this.#crashes;
  }

  /** A generation has all its listeners. Where there is no predecessor, or it is gone, the commit is ours to give. */
  ready(generation: GenerationProcess, claims: Message<'ready'>['claims']): void {
    generation.claims = new Set(claims.map(({ name }) => name));
    generation.late = new Set(claims.flatMap(({ name, late }) => (late ? [name] : [])));
    if (generation.livingPredecessor !== undefined || generation.servingSince !== undefined) return;
    if (generation.isRevived && this.#hasMovedAway(generation)) this.#startUnheld(generation);
    else this.#commit(generation);
  }

  /**
   * A predecessor stops accepting for good, because it can hand nothing over; its successor, which is ready, follows it. What
   * becomes of that one from now on is not the predecessor's affair: where it fails, the last good release is started.
   */
  leaves(predecessor: GenerationProcess, successor: GenerationProcess, timeoutMs: number): void {
    const { generations, held } = this.#parts;
    this.#noteListeners(predecessor);
    predecessor.isEnding = true;
    successor.predecessor = undefined;
    generations.current = successor;
    this.#limit(predecessor);
    // Its listeners live on in our copies and in the successor.
    predecessor.lifeline?.send({ type: 'retire', timeoutMs, keepOpen: true });
    successor.serves.then(() => held.handedOn(predecessor.number));
  }

  /** The predecessor accepts no more. */
  follows(successor: GenerationProcess): void {
    if (successor.exit === undefined && successor.servingSince === undefined) this.#commit(successor);
  }

  /** A generation accepts. */
  serving(generation: GenerationProcess, epoch: number): void {
    if (!this.#begins(generation, epoch)) {
      this.#servesOn(generation, epoch);
      return;
    }
    if (generation.livingPredecessor === undefined) this.#servesAlone(generation);
    else {
      this.#onProbation(generation, generation.livingPredecessor);
      this.#sayServing(generation, this.#found(generation));
    }
    this.#parts.restarts.handoverTo(generation)?.committed();
  }

  /** A generation has come back to this supervisor, and accepts. Its predecessor may come back later. */
  servesAgain(generation: GenerationProcess, epoch: number): void {
    if (!this.#begins(generation, epoch)) return;
    this.#sayServing(generation, this.#lookAlone(generation));
    if (generation.livingPredecessor !== undefined)
      this.#onProbation(generation, generation.livingPredecessor);
  }

  /** One serves beside another that is to stay: it must not accept for good. */
  retire(generation: GenerationProcess): void {
    const { generations, options, log } = this.#parts;
    log.warn(
      `generation ${generation.number} serves beside generation ${generations.current?.number}, and is retired`,
    );
    generation.hasServed();
    generation.isEnding = true;
    generation.isSecond = true;
    const timeoutMs = options.drainTimeoutMs;
    // Its listeners are those of the one that stays.
    generation.lifeline?.send({ type: 'retire', timeoutMs, keepOpen: true });
    const late = new Deadline(timeoutMs + options.stopTimeoutMs, () => generation.kill()).unref();
    generation.exited.then(() => late.clear());
  }

  /** A predecessor has come back to this supervisor, and can still resume. */
  mayResume(predecessor: GenerationProcess, number: number): void {
    const successor = this.#parts.generations.numbered(number);
    if (successor === undefined) return;
    successor.predecessor = predecessor;
    if (successor.servingSince !== undefined) this.#onProbation(successor, predecessor);
  }

  /** Who serves, and on what, in one line. */
  servingStatus(): string {
    const { generations, held } = this.#parts;
    const { current } = generations;
    if (current === undefined) return 'nobody serves';
    const shown = namesOf(held.names()) || 'without a listener';
    return `generation ${current.number} serves ${shown} (process ${current.servicePid})`;
  }

  /** A successor has proved itself. */
  confirmed(number: number): void {
    const { generations, probation, crashRecovery } = this.#parts;
    const inProbation = probation.successor;
    probation.end(number);
    const successor = generations.numbered(number);
    if (successor?.predecessor !== undefined) this.#parts.held.handedOn(successor.predecessor.number);
    if (successor !== undefined) {
      successor.predecessor = undefined;
      this.#prove(successor);
    } else if (inProbation !== undefined && this.#isForsaken()) {
      // It died in the same moment, when its predecessor was still thought able to resume.
      crashRecovery.revive(inProbation, 'ended');
    }
  }

  /** A handover ended before commit: the predecessor has served all the time. */
  aborted(number: number, error: MoultError): void {
    // It has been told to end meanwhile, and its successor begins.
    if (this.#parts.restarts.handoverTo(number)?.predecessorHasLeft) return;
    this.#failed(number, error, false);
  }

  /** A handover was undone after commit. @param by the predecessor; it serves again. @param alive whether the successor hands back what it has. */
  undone(by: GenerationProcess, number: number, error: MoultError, alive: boolean): void {
    this.#parts.generations.current = by;
    this.#parts.crashRecovery.cancel();
    this.#parts.held.undo(number);
    this.#failed(number, error, alive);
    // What another supervisor has is that one's to look at.
    if (by.isOurs) this.#lookAtReturned(by);
  }

  /** The probation of this successor is over but for a look from outside; its predecessor waits for that. */
  verify(predecessor: GenerationProcess, number: number): void {
    const { generations, look } = this.#parts;
    const successor = generations.numbered(number);
    if (successor === undefined) return;
    // It may have been undone meanwhile, and its predecessor be watching another one.
    const isStill = () => successor.predecessor === predecessor && !successor.isEnding;
    // One that an earlier supervisor started may have to come back first.
    const looked = successor.serves.then(() => look.at(successor));
    looked.then(
      () => isStill() && predecessor.lifeline?.send({ type: 'confirm' }),
      (error) => {
        if (!isStill()) return;
        successor.isUndone = true;
        const told = asMoultError(error, 'MOULT_NOT_REACHED');
        predecessor.lifeline?.send({ type: 'undo', error: told.report() });
      },
    );
  }

  // @returns whether it was found from outside; in a restart the restart looks.
  #found(generation: GenerationProcess): Promise<boolean> {
    const handover = this.#parts.restarts.handoverTo(generation);
    if (handover === undefined) return this.#lookAlone(generation);
    return handover.done.then(
      () => true,
      () => false,
    );
  }

  // It has not accepted for a while, and what its successor did to its listeners may have outlived that one.
  async #lookAtReturned(generation: GenerationProcess): Promise<void> {
    const { generations, manager } = this.#parts;
    const isFound = (await this.#looking.get(generation)) || (await this.#lookAlone(generation));
    if (!isFound || manager.isReady || generations.current !== generation) return;
    manager.serving(this.servingStatus(), () => this.answers());
  }

  /** Tells when a generation that serves has been found from outside; never of one that does not serve any more. */
  whenFound(generation: GenerationProcess, tell: () => void): void {
    const { generations } = this.#parts;
    const looking = this.#looking.get(generation) ?? Promise.resolve(generation.found.isThere);
    looking.then((isFound) => {
      if (isFound && generations.current === generation && generation.exit === undefined) tell();
    });
  }

  // Nobody can be gone back to: who operates it is told, and it is not said to serve until somebody has found it.
  #lookAlone(generation: GenerationProcess): Promise<boolean> {
    const look = this.#lookUntilFound(generation).finally(() => this.#looking.delete(generation));
    this.#looking.set(generation, look);
    return look;
  }

  async #lookUntilFound(generation: GenerationProcess): Promise<boolean> {
    const { generations, look, log, manager, shutdown } = this.#parts;
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
        if (!isStill || shutdown.hasBegun) return false;
        const { message, code } = asMoultError(error, 'MOULT_NOT_REACHED');
        if (!isTold) {
          log.error(`${message} (${code}); it is looked again until they do`);
          manager.tell(message);
          isTold = true;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS).unref());
    }
  }

  #sayServing(generation: GenerationProcess, found: Promise<boolean>, then: () => void = () => {}): void {
    const { generations, manager } = this.#parts;
    found.then((isFound) => {
      if (!isFound || generations.current !== generation || generation.exit !== undefined) return;
      manager.serving(this.servingStatus(), () => this.answers());
      then();
    });
  }

  /** A generation has not come to listen in time on what was held for it. */
  missed(generation: GenerationProcess, name: string): void {
    generation.late?.delete(name);
    const { log, manager, options } = this.#parts;
    const what =
      `generation ${generation.number} has not listened on ${name} within ${options.readyTimeoutMs} ms (--ready-timeout): ` +
      'it is closed, who waited there is reset';
    log.warn(what);
    manager.tell(what);
  }

  /** A generation has told of a listener that it has. */
  listens(generation: GenerationProcess, name: string): void {
    if (generation.late?.delete(name))
      this.#parts.log.info(`generation ${generation.number} listens on ${name} now`);
  }

  /** A generation has nothing left to do. */
  drained(generation: GenerationProcess, report: DrainReport): void {
    const { number } = generation;
    const { options, journal, log } = this.#parts;
    generation.isEnding = true;
    generation.hasDrained(report);
    journal.write({ event: 'drained', generation: number, ...report });
    for (const { peer, ageMs, reason } of report.cut) {
      log.warn(
        `generation ${number}: cut the connection of ${peer} after ${Math.round(ageMs)} ms: ${reason}`,
      );
    }
    log.debug(
      `generation ${number} has drained: ${report.moved} moved, ${report.drained} ended, ${report.cut.length} cut`,
    );
    const late = `did not end within ${options.stopTimeoutMs} ms of its stop signal and is killed`;
    killAfter(generation, options.stopTimeoutMs, () => log.warn(`generation ${number} ${late}`));
  }

  /** A handover to this successor is over: it, and the one from which it was to take over, may both be gone. */
  over(successor: GenerationProcess): void {
    if (this.#isForsaken()) this.#parts.crashRecovery.revive(successor, 'failed');
  }

  /** A generation has ended. */
  exited(generation: GenerationProcess, exit: Exit): void {
    const { generations, restarts, releases, crashRecovery, shutdown, outgoingTakeover, manager, log } =
      this.#parts;
    const successor = generations.all().find((one) => one.predecessor === generation && !one.isEnding);
    const hasHeir = successor !== undefined && successor.servingSince === undefined;
    // The predecessor died before it had committed: the successor takes over as soon as it is ready.
    if (hasHeir && successor.claims !== undefined) this.#commit(successor);
    if (successor !== undefined && !hasHeir) {
      // There is nobody left to go back to.
      this.#goesOnAlone(generation, successor);
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
    } else if (this.#isForsaken()) crashRecovery.revive(generation, describeExit(exit));
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

  /** @returns whether it did not accept before. */
  #begins(generation: GenerationProcess, epoch: number): boolean {
    if (generation.servingSince !== undefined) return false;
    const { generations, crashRecovery, held, manager, journal } = this.#parts;
    const before = generations.current;
    this.#noteListeners(before);
    generation.beginToServe();
    held.paths?.served();
    generations.reached(epoch);
    generations.current = generation;
    crashRecovery.cancel();
    // It came back while this one, which was started without it, was let in.
    const isBeside = before !== undefined && before !== generation.predecessor && before.exit === undefined;
    if (isBeside && before.isAdopted && !generation.isAdopted) this.retire(before);
    // From now on our death must not reach its output: a write to a closed pipe would end that for good.
    generation.lifeline?.send({ type: 'direct-output' });
    journal.write({ event: 'serving', generation: generation.number, epoch: generations.epoch });
    if (generation.isRevived) journal.write({ event: 'revived', ...revivalOf(generation) });
    manager.accepting(() => this.answers());
    return true;
  }

  // What it has now a rollback to it is to bring back.
  #noteListeners(generation: GenerationProcess | undefined): void {
    if (generation === undefined) return;
    const { releases, held, journal } = this.#parts;
    const listeners = held.namesOf(generation.number);
    releases.listened(generation.release, listeners);
    journal.write({ event: 'listened', generation: generation.number, listeners });
  }

  #onProbation(successor: GenerationProcess, predecessor: GenerationProcess): void {
    this.#limit(predecessor);
    this.#parts.probation.begin(successor, predecessor);
  }

  // The same release listens elsewhere than it did: it has found its port taken, by us.
  #hasMovedAway({ claims, late = new Set() }: GenerationProcess): boolean {
    const { held, options } = this.#parts;
    const names = held.names();
    return (
      options.slots === null &&
      late.size > 0 &&
      names.every((name) => late.has(name)) &&
      [...(claims ?? [])].some((name) => !late.has(name))
    );
  }

  // As under any other supervisor: it comes up where nobody holds its port, and finds it free.
  #startUnheld(generation: GenerationProcess): void {
    const { held, log } = this.#parts;
    const { claims, late = new Set<string>() } = generation;
    const opened = [...(claims ?? [])].filter((name) => !late.has(name));
    log.error(
      `generation ${generation.number} listens on ${namesOf(opened)} in place of ${namesOf([...late])}, which was held for it: ` +
        'it is ended, and started again with nothing held; who waited there is reset',
    );
    for (const name of late) held.closeForGood(name);
    generation.kill();
  }

  #commit(generation: GenerationProcess): void {
    const { generations, held, log } = this.#parts;
    generation.lifeline?.send({ type: 'commit', epoch: generations.nextEpoch() });
    const spare = generation.claims === undefined ? [] : held.keepOnly(generation.claims);
    for (const name of spare) {
      log.warn(
        `generation ${generation.number} does not listen on ${name}, which the service manager keeps open: its clients wait`,
      );
    }
  }

  #servesAlone(generation: GenerationProcess): void {
    this.#watchAlone(generation);
    this.#sayServing(generation, this.#found(generation), () => {
      const { late = new Set<string>() } = generation;
      const size = this.#parts.held.names().filter((name) => !late.has(name)).length;
      const what = size === 0 ? 'without a listener' : `${size} listener${size === 1 ? '' : 's'}`;
      const waits = late.size === 0 ? '' : `; ${namesOf([...late])} waits for it to listen there, too`;
      this.#parts.log.info(
        `generation ${generation.number} serves ${what} (process ${generation.servicePid})${waits}`,
      );
      this.#tellWhyReady(generation, size);
    });
  }

  // Once: what is taken for its being ready is to be known, in case that it is not.
  #tellWhyReady({ startedAt, number }: GenerationProcess, listeners: number): void {
    const { generations, options, log } = this.#parts;
    if (listeners > 0 || options.isProgram || generations.sayReady || this.#hasToldWhyReady) return;
    this.#hasToldWhyReady = true;
    log.info(
      `generation ${number} has shown no listener in ${Math.round(wallClockMs() - startedAt)} ms: that it lives is taken for its being ready ` +
        "(--ready-after says for how long; process.send('ready') says it in its own time)",
    );
  }

  // Where there is a release to come back to, one that serves alone has to prove itself as any other.
  #watchAlone(generation: GenerationProcess): void {
    const { releases, probation } = this.#parts;
    const known = releases.lastGood();
    if (known === undefined || known === generation.release) this.#prove(generation);
    else probation.beginAlone(generation, this.#loneEnd(generation));
  }

  // There is nobody left to go back to.
  #goesOnAlone(predecessor: GenerationProcess, successor: GenerationProcess): void {
    const { probation, held } = this.#parts;
    if (!probation.goesOnAlone(predecessor, this.#loneEnd(successor))) return;
    held.handedOn(predecessor.number);
    successor.predecessor = undefined;
  }

  // The one to which it was handing back is gone.
  #servesOn(generation: GenerationProcess, epoch: number): void {
    const { generations, probation, journal, log } = this.#parts;
    if (!generation.isUndone || generation !== generations.current) return;
    generation.isUndone = false;
    generations.reached(epoch);
    journal.write({ event: 'serving', generation: generation.number, epoch: generations.epoch });
    log.warn(`generation ${generation.number} serves on: the one that was to serve again has ended`);
    probation.servesOn(generation);
  }

  #loneEnd(generation: GenerationProcess): LoneEnd {
    const { options, log, manager } = this.#parts;
    return {
      proved: () => this.confirmed(generation.number),
      failed: ({ message, code }) => {
        const what = `generation ${generation.number} failed in its probation: ${message} (${code})`;
        log.error(what);
        manager.tell(what);
        // The last good release is started in its place.
        if (options.restart !== 'never') generation.kill();
      },
    };
  }

  // It has proved itself: a crash or a rollback may come back to it.
  #prove(generation: GenerationProcess): void {
    if (generation.isProved) return;
    generation.isProved = true;
    const { generations, releases, journal } = this.#parts;
    releases.proved(generation.release);
    journal.write({ event: 'confirmed', generation: generation.number, epoch: generations.epoch });
  }

  // A predecessor ends itself when it has drained; one that is hung is ended all the same.
  #limit(generation: GenerationProcess): void {
    if (!generation.isOurs || generation.endsInTime) return;
    const { generations, probation, options, log } = this.#parts;
    const { drainTimeoutMs, probationMs, stopTimeoutMs, readyTimeoutMs } = options;
    const end = () => {
      if (generations.current === generation) return;
      log.warn(`generation ${generation.number} did not end in time and is killed`);
      generation.kill();
    };
    let limit = new Deadline(Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs, () => {
      // It is to serve again, and may have state to restore first.
      const isToResume = probation.predecessor === generation && probation.successor?.isUndone;
      if (isToResume) limit = new Deadline(readyTimeoutMs + stopTimeoutMs, end).unref();
      else end();
    }).unref();
    generation.exited.then(() => limit.clear());
  }

  #failed(number: number, error: MoultError, alive: boolean): void {
    const { generations, restarts, probation, manager, journal, log } = this.#parts;
    // It may have exited, and be forgotten, before its predecessor tells.
    const successor = generations.numbered(number);
    this.#parts.held.paths?.servesAgain();
    const wasInProbation = probation.end(number, error);
    if (successor !== undefined) successor.isEnding = true;
    const wasServing = wasInProbation || successor?.servingSince !== undefined;
    if (wasServing) {
      const lastLine = successor?.lastLine;
      const told = lastLine === undefined ? {} : { lastLine };
      const { code, message } = error;
      const output = successor?.tree.output.lines().slice(-OUTPUT_LINES);
      journal.write({ event: 'undone', generation: number, code, message, ...told }, { output });
    }
    const handover = restarts.handoverTo(number);
    if (handover !== undefined && !handover.isSettled) handover.fail(error, alive);
    else if (wasServing) {
      const what = `generation ${number} was undone (${error.message})`;
      log.error(`${what}; generation ${generations.current?.number} serves again`);
      manager.tell(`${what}; ${this.servingStatus()}`);
    }
    if (successor !== undefined && alive) this.#limit(successor);
    else successor?.giveUp();
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
    const { number, tree } = generation;
    const output = tree.output.lines().slice(-OUTPUT_LINES);
    const { code, signal } = exit;
    journal.write({ event: 'crashed', generation: number, code, signal }, { output });
    if (hasHeir) {
      log.error(`generation ${generation.number} ${describeExit(exit)}; its successor takes over`);
      return;
    }
    crashRecovery.revive(generation, describeExit(exit));
  }

  /** Whether the service answers, or it is known why it cannot and what will be. */
  async answers(): Promise<boolean> {
    const { generations, crashRecovery, options } = this.#parts;
    if (generations.current !== undefined) {
      return generations.current.state(ANSWER_TIMEOUT_MS).then(
        () => true,
        () => false,
      );
    }
    const starting = generations.starting();
    if (starting === undefined) return crashRecovery.isWaiting || generations.isChangingOver;
    return wallClockMs() - starting.startedAt < options.readyTimeoutMs;
  }

  /** Whether nobody serves, starts, is waited for, or will resume, although somebody should. */
  #isForsaken(): boolean {
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

function revivalOf({ number, revives, release, startedAt }: GenerationProcess): Record<string, unknown> {
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

function killAfter(generation: GenerationProcess, ms: number, tell: () => void): void {
  const timer = setTimeout(() => {
    tell();
    generation.kill();
  }, ms);
  generation.exited.then(() => clearTimeout(timer));
}
