/*
 * Over 300 lines: every way in which another generation comes to serve is here, so that they can be read against each other.
 */
import { MoultError } from '../../errors.js';
import { namesOf } from '../../lifecycle/listener-names.js';
import { wallClockMs } from '../../os/clock.js';
import type { DrainReport, Message } from '../../protocol/messages.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { Confirmation, type ConfirmationParts } from './confirmation.js';
import { EndLimits, type EndLimitsParts } from './end-limits.js';
import { GenerationExits, type GenerationExitsParts, OUTPUT_LINES, revivalOf } from './generation-exits.js';
import { LateListeners, type LateListenersParts } from './late-listeners.js';
import { ReachabilityWatch, type ReachabilityWatchParts } from './reachability-watch.js';
import { ServingNotice, type ServingNoticeParts } from './serving-notice.js';

/** How long the service may take to answer before the watchdog is let run on. */
const ANSWER_TIMEOUT_MS = 5000;

/** What changes when another generation serves. */
export interface ServingStateParts
  extends GenerationExitsParts,
    ReachabilityWatchParts,
    ConfirmationParts,
    EndLimitsParts,
    LateListenersParts,
    ServingNoticeParts {}

/** Decides who serves, as generations come to serve, are confirmed and are undone. */
export class ServingState {
  /** What follows when one ends. */
  readonly exits: GenerationExits;
  /** Whether clients reach those that serve alone. */
  readonly reachability: ReachabilityWatch;
  /** What is held for one on which it does not listen yet. */
  readonly lateListeners: LateListeners;
  /** Whether those that serve have proved themselves. */
  readonly confirmation: Confirmation;
  readonly #parts: ServingStateParts;
  readonly #endLimits: EndLimits;
  /** The epochs with which they have said that they serve. */
  readonly #toldEpochs = new WeakMap<GenerationProcess, number>();
  readonly #notice: ServingNotice;

  constructor(parts: ServingStateParts) {
    this.#parts = parts;
    this.reachability = new ReachabilityWatch(parts);
    this.lateListeners = new LateListeners(parts);
    this.confirmation = new Confirmation(parts, () => this.exits);
    this.#endLimits = new EndLimits(parts);
    this.#notice = new ServingNotice(parts);
    this.exits = new GenerationExits(parts, {
      commit: (successor) => this.#commit(successor),
      goesOnAlone: (predecessor, successor) => this.confirmation.goesOnAlone(predecessor, successor),
      servesOn: (successor) => this.#servesOn(successor, parts.generations.epoch),
      hadListeners: (generation) => this.#noteListeners(generation),
    });
  }

  /** A generation has all its listeners. Where there is no predecessor, or it is gone, the commit is ours to give. */
  ready(generation: GenerationProcess, claims: Message<'ready'>['claims']): void {
    generation.claims = new Set(claims.map(({ name }) => name));
    generation.late = new Set(claims.flatMap(({ name, late }) => (late ? [name] : [])));
    if (generation.livingPredecessor !== undefined || generation.servingSince !== undefined) return;
    if (generation.isRevived && this.lateListeners.haveMovedAway(generation))
      this.lateListeners.startUnheld(generation);
    else this.#commit(generation);
  }

  /**
   * A predecessor stops accepting for good, because it can hand nothing over; its successor, which is ready, follows it. What
   * becomes of that one from now on is not the predecessor's affair: where it fails, the last good release is started.
   */
  leaves(predecessor: GenerationProcess, successor: GenerationProcess, timeoutMs: number): void {
    const { generations, held } = this.#parts;
    generations.machine.on('give-way');
    this.#noteListeners(predecessor);
    predecessor.isEnding = true;
    successor.predecessor = undefined;
    generations.current = successor;
    this.#endLimits.ofPredecessor(predecessor);
    // Its listeners live on in our copies and in the successor.
    predecessor.lifeline?.send({ type: 'retire', timeoutMs, keepOpen: true });
    successor.serves.then(() => held.handedOn(predecessor.number));
  }

  /** The predecessor accepts no more. */
  follows(successor: GenerationProcess): void {
    if (successor.exit === undefined && successor.servingSince === undefined) this.#commit(successor);
  }

  /** A generation accepts. @param toldEpoch the epoch with which it says that it does; undefined where another one says so. */
  serving(generation: GenerationProcess, toldEpoch: number | undefined): void {
    const epoch = toldEpoch ?? this.#parts.generations.epoch + 1;
    if (!this.#begins(generation, epoch)) {
      if (generation === this.#parts.generations.current) this.#servesOn(generation, epoch);
      else this.#servesBeside(generation, epoch);
      return;
    }
    if (toldEpoch !== undefined) this.#toldEpochs.set(generation, toldEpoch);
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
    this.#sayServing(generation, this.reachability.begin(generation));
    if (generation.livingPredecessor !== undefined)
      this.#onProbation(generation, generation.livingPredecessor);
  }

  /** One serves beside another that is to stay: it must not accept for good. */
  retire(generation: GenerationProcess): void {
    const { generations, options, log } = this.#parts;
    const other = generations.current?.number;
    const beside = other === undefined ? "another supervisor's" : `generation ${other}`;
    log.warn(`generation ${generation.number} serves at the same time as ${beside}, and is told to drain`);
    generation.hasServed();
    generation.isEnding = true;
    generation.isSecond = true;
    const timeoutMs = options.drainTimeoutMs;
    // Its listeners are those of the one that stays.
    generation.lifeline?.send({ type: 'retire', timeoutMs, keepOpen: true });
    this.#endLimits.ofRetired(generation);
  }

  /** A predecessor has come back to this supervisor, and can still resume. */
  mayResume(predecessor: GenerationProcess, number: number): void {
    const successor = this.#parts.generations.numbered(number);
    if (successor === undefined) return;
    successor.predecessor = predecessor;
    if (successor.servingSince === undefined) return;
    this.#parts.generations.machine.on('resumable');
    this.#onProbation(successor, predecessor);
  }

  /** Who serves, and on what, in one line. */
  servingStatus(): string {
    const { generations, held } = this.#parts;
    const { current } = generations;
    if (current === undefined) return 'nobody serves';
    const shown = namesOf(held.names()) || 'without a listener';
    return `generation ${current.number} serves ${shown} (process ${current.servicePid})`;
  }

  /** A process of a generation has ended, and left listeners on which no other has come to listen. */
  left(
    generation: GenerationProcess,
    { pid, thread = 0, names, closed, failed = false }: Message<'left'>,
  ): void {
    const { generations, restarts, probation, manager, log } = this.#parts;
    const { machine } = generations;
    if (generation !== generations.current || generation.isEnding) return;
    // It may not stay the one that serves. What is not closed is told of again.
    if (restarts.isHandingOver && probation.successor !== generation && !closed) return;
    // What serves in the delay of a stop is not cut, and another supervisor's is not ours to end.
    if (machine.isOver || machine.is('passing', 'passed')) return;
    const who = thread === 0 ? `process ${pid}` : `a worker thread of process ${pid}`;
    const what = `${who} of generation ${generation.number}, which listened on ${namesOf(names)}, has exited, and no other process has come to listen there`;
    const isInProbation = (!closed || failed) && probation.successor === generation;
    if (isInProbation && probation.fail(generation, new MoultError('MOULT_PROBATION_FAILED', what))) return;
    if (closed) log.warn(`${what}: it is closed, and clients are refused there until the next restart`);
    else log.error(`${what}: the whole generation is started again`);
    manager.tell(what);
    if (!closed) generation.kill();
  }

  /** A handover ended before commit: the predecessor has served all the time. */
  aborted(number: number, error: MoultError): void {
    // It has been told to end meanwhile, and its successor begins.
    if (this.#parts.restarts.handoverTo(number)?.predecessorHasLeft) return;
    this.#failed(number, error, false);
  }

  /** A handover was undone after commit. @param by the predecessor; it serves again. @param alive whether the successor hands back what it has. */
  undone(by: GenerationProcess, number: number, error: MoultError, alive: boolean): void {
    const { generations } = this.#parts;
    const action = generations.machine.on('undone');
    if (action === 'retire') this.retire(by);
    else generations.current = by;
    if (action === 'call-off') this.#callOffHeirs(by);
    this.#endLimits.servesOn(by);
    this.#parts.crashRecovery.cancel();
    this.#parts.held.undo(number);
    this.#failed(number, error, alive);
    // What another supervisor has is that one's to look at.
    if (!by.isOurs) return;
    if (!by.isProved && by.livingPredecessor === undefined) this.confirmation.watchAlone(by);
    this.#lookAtReturned(by);
  }

  // The one that they were to follow was given up in the moment in which it ended: its predecessor serves again, and not they. One
  // that was told already that it may begin does, and the other one is retired then.
  #callOffHeirs(by: GenerationProcess): void {
    const { generations, restarts, log } = this.#parts;
    const what = `generation ${by.number} serves again`;
    for (const one of generations.all()) {
      const isHeir = one.servingSince === undefined && one.livingPredecessor === undefined && !one.isAdopted;
      if (!isHeir || one.isEnding || one.claims !== undefined) continue;
      log.warn(`generation ${one.number} is stopped: ${what}`);
      const error = new MoultError('MOULT_HANDOVER_ABORTED', what, { serving: 'predecessor' });
      restarts.handoverTo(one)?.fail(error);
      one.isEnding = true;
      one.giveUp();
    }
  }

  // @returns whether it was found from outside; in a restart the restart looks.
  #found(generation: GenerationProcess): Promise<boolean> {
    const handover = this.#parts.restarts.handoverTo(generation);
    if (handover === undefined) return this.reachability.begin(generation);
    return handover.done.then(
      () => true,
      () => false,
    );
  }

  // It has not accepted for a while, and what its successor did to its listeners may have outlived that one.
  async #lookAtReturned(generation: GenerationProcess): Promise<void> {
    const { generations, manager } = this.#parts;
    const isFound =
      (await this.reachability.underWay(generation)) || (await this.reachability.begin(generation));
    if (!isFound || manager.isReady || generations.current !== generation) return;
    manager.serving(this.servingStatus(), () => this.answers());
  }

  #sayServing(generation: GenerationProcess, found: Promise<boolean>, then: () => void = () => {}): void {
    const { generations, manager } = this.#parts;
    found.then((isFound) => {
      if (!isFound || generations.current !== generation || generation.exit !== undefined) return;
      manager.serving(this.servingStatus(), () => this.answers());
      then();
    });
  }

  /** A generation has nothing left to do. */
  drained(generation: GenerationProcess, report: DrainReport): void {
    const { number } = generation;
    const { journal, log } = this.#parts;
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
    this.#endLimits.ofDrained(generation);
  }

  /** @returns whether it did not accept before. */
  #begins(generation: GenerationProcess, epoch: number): boolean {
    if (generation.servingSince !== undefined) return false;
    const { generations, crashRecovery, held, manager, journal } = this.#parts;
    const before = generations.current;
    this.#noteListeners(before);
    generation.beginToServe();
    generations.machine.on(generation.livingPredecessor === undefined ? 'serves' : 'commits');
    held.paths?.served();
    generations.reached(epoch);
    generations.current = generation;
    crashRecovery.cancel();
    // It came back while this one, which was started without it, was let in.
    const isOther = before !== generation && before !== generation.predecessor;
    const isBeside = before !== undefined && isOther && before.exit === undefined;
    if (isBeside && !generation.isAdopted) this.retire(before);
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
    const listeners = [...new Set([...held.namesOf(generation.number), ...(generation.late ?? [])])];
    releases.listened(generation.release, listeners);
    journal.write({ event: 'listened', generation: generation.number, listeners });
  }

  #onProbation(successor: GenerationProcess, predecessor: GenerationProcess): void {
    this.#endLimits.ofPredecessor(predecessor);
    this.#parts.probation.begin(successor, predecessor);
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
    this.confirmation.watchAlone(generation);
    this.#sayServing(generation, this.#found(generation), () => this.#notice.servesAlone(generation));
  }

  // Its predecessor had the service back, and died before it could say so. What it said at its commit may come late.
  #servesBeside(generation: GenerationProcess, epoch: number): void {
    const { isEnding, isSecond } = generation;
    if (isEnding && !isSecond && epoch > (this.#toldEpochs.get(generation) ?? epoch)) this.retire(generation);
  }

  // The one to which it was handing back is gone.
  #servesOn(generation: GenerationProcess, epoch: number): void {
    const { generations, probation, journal, log } = this.#parts;
    this.#toldEpochs.set(generation, epoch);
    if (!generation.isUndone) return;
    generation.isUndone = false;
    generations.machine.on('keeps');
    this.#endLimits.servesOn(generation);
    generations.reached(epoch);
    journal.write({ event: 'serving', generation: generation.number, epoch: generations.epoch });
    log.warn(
      `generation ${generation.number} keeps serving: the generation that should serve again has exited`,
    );
    probation.servesOn(generation);
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
      const output = successor?.lastLines.slice(-OUTPUT_LINES);
      journal.write({ event: 'undone', generation: number, code, message, ...told }, { output });
    }
    const handover = restarts.handoverTo(number);
    if (handover !== undefined && !handover.isSettled) handover.fail(error, alive);
    else if (wasServing) {
      const what = `generation ${number} was undone (${error.message})`;
      log.error(`${what}; generation ${generations.current?.number} serves again`);
      manager.tell(`${what}; ${this.servingStatus()}`);
    }
    if (successor !== undefined && alive) this.#endLimits.ofPredecessor(successor);
    else successor?.giveUp();
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
    if (starting === undefined) return crashRecovery.isWaiting || generations.machine.is('changing-over');
    return wallClockMs() - starting.startedAt < options.readyTimeoutMs;
  }
}
