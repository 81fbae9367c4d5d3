import { asMoultError, MoultError } from '../../errors.js';
import { RestartRecord, type RestartSummary, type StageEvent } from '../../lifecycle/restart-record.js';
import { monotonicMs, wallClockMs } from '../../os/clock.js';
import { Deadline } from '../../os/deadline.js';
import { descriptorRoom } from '../../os/descriptors/descriptor-room.js';
import { describeExit, type Exit } from '../../os/processes/process.js';
import type { Settings } from '../../protocol/messages.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { Look } from '../reachability/outside-look.js';

/** How much longer than the service's own limit the supervisor waits, for a predecessor that is hung. */
const BACKSTOP_MS = 10_000;

/** One restart as the supervisor sees it: it starts the successor, listens to both sides, and ends what failed. */
export class RestartAttempt {
  readonly successor: GenerationProcess;
  /** Settles when the successor has taken over and all that can move has moved; rejects when it failed. */
  readonly done: Promise<RestartSummary>;
  readonly predecessor: GenerationProcess | undefined;
  readonly #onStage: (event: StageEvent) => void;
  readonly #toCommitMs: number;
  readonly #record: RestartRecord;
  readonly #look: () => Promise<Look>;
  readonly #lookAnew: () => Promise<void>;
  readonly #undoBy: Generations['undo'];
  /** What was seen from outside since the commit: nothing, while it is not known, or what is wrong. */
  #seen: Promise<MoultError | undefined> | undefined;
  #isPredecessorSilent = false;
  #isSettled = false;
  #hasCommitted = false;
  /** How many connections its predecessor had when it stopped accepting for good, before the successor began to. */
  #left: number | undefined;
  #limit: Deadline | undefined;
  #resolve!: (summary: RestartSummary) => void;
  #reject!: (error: MoultError) => void;

  constructor(
    successor: GenerationProcess,
    predecessor: GenerationProcess | undefined,
    settings: Settings,
    toCommitMs: number,
    onStage: (event: StageEvent) => void,
    undo: Generations['undo'],
    look: () => Promise<Look> = async () => ({ looked: 0, lookMs: 0 }),
    lookAnew: () => Promise<void> = async () => {},
  ) {
    this.#undoBy = undo;
    this.#look = look;
    this.#lookAnew = lookAnew;
    this.#toCommitMs = toCommitMs;
    this.successor = successor;
    this.predecessor = predecessor;
    this.#record = new RestartRecord(successor.number, predecessor?.number ?? null, monotonicMs());
    this.#onStage = onStage;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {});
    const limitMs = settings.readyTimeoutMs + (predecessor === undefined ? 0 : BACKSTOP_MS);
    this.#limit = new Deadline(limitMs, () => this.#tooLate(settings.readyTimeoutMs));
    // Not -1: kill(2) would take that for every process.
    this.stage('spawn', { pid: successor.pid > 0 ? successor.pid : null });
    successor.exited.then((exit) => this.#exited(exit));
  }

  get hasCommitted(): boolean {
    return this.#hasCommitted;
  }

  /** Whether the predecessor has stopped accepting for good. */
  get predecessorHasLeft(): boolean {
    return this.#left !== undefined;
  }

  /** The predecessor stops accepting, and cannot resume. @param draining how many connections it has. */
  predecessorLeaves(draining: number): void {
    this.#left = draining;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** A stage was reached. */
  stage(stage: string, facts: Record<string, unknown>): void {
    const event = this.#record.note(stage, facts, monotonicMs(), wallClockMs(), !this.#isSettled);
    this.#onStage(event);
    if (stage === 'ready') this.#afterReady();
    if (stage === 'connections') this.#succeed();
  }

  /** The successor serves. */
  committed(): void {
    this.#hasCommitted = true;
    this.#limit?.clear();
    this.#lookFromOutside();
    if (this.#left !== undefined) {
      this.stage('commit', {});
      this.stage('connections', { draining: this.#left });
    }
    // Without a predecessor there is nothing to move.
    else if (this.predecessor === undefined || this.predecessor.exit !== undefined) {
      this.stage('commit', {});
      this.#succeed();
    }
  }

  /** The predecessor is gone after commit: what it had not moved is gone with it. */
  predecessorLost(): void {
    if (this.#hasCommitted) this.#succeed();
  }

  /** The handover failed: the successor is ended, and the operator told once it is gone. @param alive whether it still hands back what it has. */
  fail(error: MoultError, alive = false): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#limit?.clear();
    this.successor.isEnding = true;
    // Where the predecessor has not given it up itself, it learns so here; else this says nothing new.
    if (!this.#hasCommitted && this.#left === undefined) {
      this.predecessor?.expectNoMore(this.successor.number, error);
    }
    if (alive) {
      // It hands back what it has, and ends by itself.
      this.#reject(this.#explain(error, { code: null, signal: null }));
      return;
    }
    this.successor.giveUp();
    this.successor.exited.then((exit) => this.#reject(this.#explain(error, exit)));
  }

  // Meanwhile connections move: it is over before they have, as a rule.
  #lookFromOutside(): Promise<MoultError | undefined> {
    this.#seen ??= this.#look().then(
      ({ late: _, ...look }) => {
        if (!this.#isSettled) this.stage('look', look);
        return undefined;
      },
      (error) => asMoultError(error, 'MOULT_NOT_REACHED'),
    );
    return this.#seen;
  }

  // Connections may have moved for long since it was looked: its service may have closed a listener meanwhile.
  async #lookLast(): Promise<MoultError | undefined> {
    const wrong = await this.#lookFromOutside();
    if (wrong !== undefined || this.#isSettled) return wrong;
    return this.#lookAnew().then(
      () => undefined,
      (error) => asMoultError(error, 'MOULT_NOT_REACHED'),
    );
  }

  // It is said to have succeeded only when somebody has looked.
  #succeed(): void {
    this.#lookLast().then((wrong) => {
      if (this.#isSettled) return;
      if (wrong !== undefined) {
        this.#undo(wrong);
        return;
      }
      this.#isSettled = true;
      this.#limit?.clear();
      this.#resolve(this.#record.summary(monotonicMs()));
    });
  }

  // The predecessor says how that went; without one nobody serves.
  #undo(error: MoultError): void {
    const { predecessor } = this;
    if (this.#isAlone || predecessor === undefined || predecessor.lifeline?.isClosed !== false)
      this.fail(error);
    else this.#undoBy(predecessor, this.successor, error);
  }

  // Whether nobody could resume.
  get #isAlone(): boolean {
    const { predecessor } = this;
    return predecessor === undefined || predecessor.exit !== undefined || this.#left !== undefined;
  }

  #exited(exit: Exit): void {
    if (this.#isSettled) return;
    if (this.#hasCommitted) {
      // Nobody is left who could say how it ended, and nothing to look at.
      if (this.#isAlone) this.fail(new MoultError('MOULT_SUCCESSOR_LOST', this.#ended(exit)));
      return;
    }
    const isStarted = exit.notStarted === undefined;
    const code = isStarted ? 'MOULT_SUCCESSOR_EXITED' : 'MOULT_START_FAILED';
    const error = new MoultError(code, this.#ended(exit));
    const hasMet = isStarted && !this.successor.isForced && this.#left === undefined;
    // The predecessor decides: it may have committed in the same moment, and then undoes it.
    if (hasMet && this.predecessor?.isReachable) {
      this.predecessor.expectNoMore(this.successor.number, error);
      // It may be ending itself, and say nothing any more.
      this.predecessor.exited.then(() => this.fail(error));
    } else this.fail(error);
  }

  // Ready in time; what is left is the check and the commit, and a predecessor that could hang in between.
  #afterReady(): void {
    this.#limit?.clear();
    if (this.#isSettled || this.#hasCommitted) return;
    const late = 'the successor was ready, but the predecessor did not commit';
    this.#limit = new Deadline(this.#toCommitMs + BACKSTOP_MS, () =>
      this.fail(new MoultError('MOULT_COMMIT_FAILED', late)),
    );
  }

  #tooLate(readyTimeoutMs: number): void {
    const { predecessor, successor } = this;
    // It was told so, and decides what follows: it has not answered since.
    if (successor.exit !== undefined && predecessor !== undefined && predecessor.exit === undefined) {
      this.#isPredecessorSilent = true;
      const what = `generation ${predecessor.number} (process ${predecessor.servicePid}) was to pass its listeners to its successor and has not answered: it is stopped, or its event loop is blocked`;
      this.fail(
        new MoultError(
          'MOULT_PEER_TIMEOUT',
          `${what}; moult restart --force replaces it and cuts its connections`,
        ),
      );
      return;
    }
    this.fail(
      new MoultError('MOULT_READY_TIMEOUT', `the successor was not ready within ${readyTimeoutMs} ms`),
    );
  }

  #ended(exit: Exit): string {
    const what = `the successor ${describeExit(exit)}`;
    if (exit.notStarted !== undefined) return what;
    return `${what} before it had ${this.#hasCommitted ? 'proved itself' : 'taken over'}`;
  }

  #explain(error: MoultError, exit: Exit): MoultError {
    const wasExit = error.code === 'MOULT_SUCCESSOR_EXITED' || error.code === 'MOULT_SUCCESSOR_LOST';
    const killed = exit.signal === 'SIGKILL';
    // Where its predecessor did not answer, the successor says no more than that.
    const output = this.#isPredecessorSilent ? [] : this.successor.lastLines.slice(-20);
    const wasLate = error.code === 'MOULT_READY_TIMEOUT';
    const shortage = (wasExit || wasLate) && !this.#hasCommitted ? this.#shortage(output) : undefined;
    const ended = wasExit && !killed ? this.#ended(exit) : error.message;
    const message = shortage === undefined ? ended : `${ended}: ${shortage}`;
    return new MoultError(shortage === undefined ? error.code : 'MOULT_DESCRIPTORS', message, {
      serving:
        this.predecessor?.exit === undefined && this.predecessor !== undefined && this.#left === undefined
          ? 'predecessor'
          : 'none',
      stage: error.stage ?? this.#record.lastStage,
      details: {
        ...error.details,
        generation: this.successor.number,
        output,
      },
      cause: error,
    });
  }

  // That is not a fault of the release, whatever its last output looks like.
  #shortage(output: readonly string[]): string | undefined {
    const { servicePid: pid = -1, exit } = this.predecessor ?? {};
    const room = exit === undefined && pid > 0 ? descriptorRoom(pid) : undefined;
    if (room !== undefined && room.free <= 0)
      return `the predecessor (process ${pid}) has used all ${room.limit} descriptors that it may open, so the successor cannot connect to it`;
    return output.some((line) => /\bEMFILE\b/.test(line))
      ? 'it may open no more descriptors (EMFILE)'
      : undefined;
  }
}
