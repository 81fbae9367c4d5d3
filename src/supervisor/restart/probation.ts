import { MoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import { Deadline } from '../../os/deadline.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import { ProbationMonitor } from './probation-monitor.js';

/** How one came out, for who asks later. */
interface Watched {
  /** Whether it was watched for the whole time. */
  wasWatched: boolean;
  /** Why it was undone. */
  failure?: MoultError;
  /** Settles when the successor is confirmed; rejects when the handover is undone. */
  readonly outcome: Promise<void>;
}

interface Period {
  readonly successor: GenerationProcess;
  /** Undefined where there is none that could resume. */
  predecessor: GenerationProcess | undefined;
  readonly beganMs: number;
  readonly watch: ProbationMonitor;
  /** Ends the time of one that has no predecessor. */
  limit: Deadline | undefined;
  readonly watched: Watched;
  /** As its {@link watched} has it. */
  readonly outcome: Promise<void>;
  readonly settle: (error?: MoultError) => void;
  /** Settles when nobody can resume any more although it goes on. */
  readonly alone: Promise<void>;
  readonly goesOn: () => void;
  /** Settles when the successor serves on although it was told to hand back. */
  readonly kept: Promise<void>;
  readonly keeps: () => void;
}

/** What ends the probation of a generation without a predecessor, which says so itself elsewhere. */
export interface LoneEnd {
  /** Looks from outside; rejects where clients do not reach it. Where that is false it has failed already. */
  look(): Promise<boolean>;
  /** It has been watched for the time, and clients reach it. */
  proved(): void;
  /** It has failed: nobody can resume. */
  failed(error: MoultError): void;
}

/** The clock of a predecessor that doesn't tell that the time is over may run a little ahead of this one. */
const EARLY_MS = 250;
/** How many periods are remembered. */
const MAX_REMEMBERED = 20;

/**
 * The time after a commit in which a generation is watched, and in which its predecessor, where it has one, can
 * resume; there is at most one such period at a time.
 */
export class Probation {
  readonly #options: SupervisorOptions;
  readonly #check: (generation: GenerationProcess) => Promise<void>;
  readonly #undo: Generations['undo'];
  #period: Period | undefined;
  /** The last ones, also when they are over: while a roll goes on, a slot may have had others since. */
  readonly #watched = new Map<number, Watched>();

  /**
   * @param check makes the configured check; rejects when it fails.
   * @param undo has a predecessor take the service back.
   */
  constructor(
    options: SupervisorOptions,
    check: (generation: GenerationProcess) => Promise<void>,
    undo: Generations['undo'],
  ) {
    this.#options = options;
    this.#check = check;
    this.#undo = undo;
  }

  get successor(): GenerationProcess | undefined {
    return this.#period?.successor;
  }

  /** Until when a generation is watched, in milliseconds since 1970; undefined where it is in no probation. */
  watchedUntil(generation: GenerationProcess): number | undefined {
    const period = this.#period;
    if (period?.successor !== generation) return undefined;
    return wallClockMs() + Math.max(0, period.beganMs + this.#options.probationMs - performance.now());
  }

  get predecessor(): GenerationProcess | undefined {
    return this.#period?.predecessor;
  }

  /** Whether the predecessor lives, and would resume. */
  get canResume(): boolean {
    const predecessor = this.#period?.predecessor;
    return predecessor !== undefined && predecessor.exit === undefined;
  }

  /** A successor has committed: it is watched from now on, and undone when it fails. */
  begin(successor: GenerationProcess, predecessor: GenerationProcess): void {
    if (this.successor === successor && this.predecessor === predecessor) return;
    this.#open(successor, predecessor, (error) => this.#undo(predecessor, successor, error));
    // With both gone, one of them in the middle of handing back, nobody is left to say how it ended.
    Promise.all([successor.exited, predecessor.exited]).then(() => {
      const who = `generations ${predecessor.number} and ${successor.number}`;
      const error = new MoultError('MOULT_SUCCESSOR_LOST', `${who} have both ended`, { serving: 'none' });
      this.end(successor.number, error);
    });
  }

  /** A generation serves that nobody could replace: it is watched all the same, for as long. */
  beginAlone(generation: GenerationProcess, then: LoneEnd): void {
    if (this.successor === generation) return;
    const period = this.#open(generation, undefined, (error) => this.#failedAlone(period, then, error));
    this.#goOnAlone(period, then);
  }

  /** The predecessor has ended: its successor is watched for the time that is left. @returns whether that was its probation. */
  goesOnAlone(predecessor: GenerationProcess, then: LoneEnd): boolean {
    const period = this.#period;
    if (period?.predecessor !== predecessor || period.successor.exit !== undefined) return false;
    period.predecessor = undefined;
    period.goesOn();
    this.#goOnAlone(period, then);
    return true;
  }

  /**
   * Settles when the generation of this number is confirmed, and at once where it is in no probation.
   * @throws the reason when it is undone.
   */
  async confirmed(number: number): Promise<void> {
    if (this.#period?.successor.number === number) await this.#period.outcome;
  }

  /**
   * Settles as {@link confirmed}, or when there is nobody any more who could resume.
   * @throws the reason when it is undone.
   */
  async irrevocable(number: number): Promise<void> {
    const period = this.#period;
    if (period?.successor.number === number) await Promise.race([period.outcome, period.alone]);
  }

  /** Why the generation of this number was undone, as far as that is remembered. */
  failureOf(number: number): MoultError | undefined {
    return this.#watched.get(number)?.failure;
  }

  /**
   * Settles when the generation of this number has been watched for the whole time, and has not failed.
   * @throws why it failed, or why it was not watched for so long.
   */
  async watched(number: number): Promise<void> {
    const watched = this.#watched.get(number);
    if (watched === undefined) return;
    await watched.outcome;
    if (watched.wasWatched) return;
    const { probationMs } = this.#options;
    const what = `generation ${number} was confirmed before its probation of ${probationMs} ms was over (--probation)`;
    throw new MoultError('MOULT_NOT_WATCHED', what, { serving: 'successor', stage: 'probation' });
  }

  /**
   * Gives the service back to the predecessor, because the operator asked for it.
   * @returns the predecessor, once it serves again or the probation has ended otherwise; undefined when there is none.
   */
  async takeBack(): Promise<GenerationProcess | undefined> {
    if (this.#period?.predecessor?.isReachable !== true) return undefined;
    const { predecessor, successor, outcome, kept } = this.#period;
    const error = new MoultError('MOULT_ROLLED_BACK', 'the operator asked for the predecessor back');
    this.#undo(predecessor, successor, error);
    await Promise.race([outcome.catch(() => {}), kept]);
    return predecessor;
  }

  /** Asks this successor once more where it has answered before. @returns false where it does not, and has failed. */
  async answersStill(successor: GenerationProcess): Promise<boolean> {
    return this.#period?.successor !== successor || this.#period.watch.answersStill();
  }

  /** A generation has failed in its probation, as was found elsewhere. @returns whether it is in one. */
  fail(successor: GenerationProcess, error: MoultError): boolean {
    if (this.#period?.successor !== successor || successor.isUndone) return false;
    this.#period.watch.fail(error);
    return true;
  }

  /**
   * The predecessor has watched this successor for the whole time, whatever the time is here: it may have begun well
   * before its message was read.
   */
  elapsed(number: number): void {
    const watched = this.#watched.get(number);
    if (watched !== undefined && this.#period?.successor.number === number) watched.wasWatched = true;
  }

  /** A successor that was told to hand back serves on: its predecessor has ended before it served. */
  servesOn(successor: GenerationProcess): void {
    if (this.#period?.successor === successor) this.#period.keeps();
  }

  /**
   * The period of this successor is over.
   * @param error why it was undone.
   * @returns whether it was in probation.
   */
  end(number: number, error?: MoultError): boolean {
    const period = this.#period;
    if (period?.successor.number !== number) return false;
    this.#close(period, error);
    this.#period = undefined;
    return true;
  }

  /** Watches no more. */
  stop(): void {
    this.#period?.watch.stop();
    this.#period?.limit?.clear();
  }

  #open(
    successor: GenerationProcess,
    predecessor: GenerationProcess | undefined,
    fail: (error: MoultError) => void,
  ): Period {
    // What is to be replaced has been confirmed by whoever asked for that.
    if (this.#period !== undefined) this.#close(this.#period);
    let settle!: (error?: MoultError) => void;
    const outcome = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    outcome.catch(() => {});
    let goesOn!: () => void;
    const alone = new Promise<void>((resolve) => {
      goesOn = resolve;
    });
    let keeps!: () => void;
    const kept = new Promise<void>((resolve) => {
      keeps = resolve;
    });
    const check = () => this.#check(successor);
    const watch = new ProbationMonitor({ successor, predecessor, options: this.#options, check, fail });
    const beganMs = performance.now();
    const period = {
      successor,
      predecessor,
      beganMs,
      watch,
      limit: undefined,
      watched: { wasWatched: false, outcome },
      outcome,
      settle,
      alone,
      goesOn,
      kept,
      keeps,
    };
    this.#period = period;
    this.#watched.set(successor.number, period.watched);
    const [oldest] = this.#watched.keys();
    if (this.#watched.size > MAX_REMEMBERED && oldest !== undefined) this.#watched.delete(oldest);
    return period;
  }

  #close(period: Period, error?: MoultError): void {
    period.watch.stop();
    period.limit?.clear();
    period.watched.wasWatched ||= performance.now() - period.beganMs >= this.#options.probationMs - EARLY_MS;
    if (error !== undefined) period.watched.failure = error;
    period.settle(error);
  }

  #goOnAlone(period: Period, then: LoneEnd): void {
    const { successor, beganMs } = period;
    const leftMs = Math.max(0, beganMs + this.#options.probationMs - performance.now());
    period.limit = new Deadline(leftMs, () => {
      then.look().then(
        (isFound) => {
          if (isFound && this.#period === period) then.proved();
        },
        (error: MoultError) => this.#failedAlone(period, then, error),
      );
    });
    successor.exited.then(() => {
      const what = `generation ${successor.number} exited during its probation`;
      if (this.#period === period && !successor.isEnding)
        this.end(successor.number, new MoultError('MOULT_SUCCESSOR_LOST', what, { serving: 'none' }));
    });
  }

  #failedAlone(period: Period, then: LoneEnd, error: MoultError): void {
    if (this.#period !== period) return;
    const told = new MoultError(error.code, error.message, { serving: 'none', cause: error });
    this.end(period.successor.number, told);
    then.failed(told);
  }
}
