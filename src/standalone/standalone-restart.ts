import type { Line } from '../channel/line.js';
import { MoultError } from '../errors.js';
import { RestartRecord, type RestartSummary, type StageEvent } from '../lifecycle/restart-record.js';
import { monotonicMs, wallClockMs } from '../os/clock.js';
import { describeExit, type Exit } from '../os/processes/process.js';
import type { StandaloneOptions } from './standalone-options.js';
import type { SuccessorProcess } from './successor-process.js';

/** With what an attempt is made. */
export interface StandaloneRestartParts {
  readonly number: number;
  readonly predecessor: number;
  readonly successor: SuccessorProcess;
  readonly options: StandaloneOptions;
  /** To this process's own generation, which decides the handover. */
  readonly line: Line;
  readonly onStage: (event: StageEvent) => void;
}

/** One restart of a service without a supervisor: follows the handover to a successor, and ends that when it fails. */
export class StandaloneRestart {
  readonly number: number;
  /** Settles when the successor has taken over and all that can move has moved; rejects when it failed and is gone. */
  readonly done: Promise<RestartSummary>;
  readonly #child: SuccessorProcess;
  readonly #record: RestartRecord;
  readonly #parts: StandaloneRestartParts;
  #hasCommitted = false;
  #isSettled = false;
  #resolve!: (summary: RestartSummary) => void;
  #reject!: (error: MoultError) => void;

  constructor(parts: StandaloneRestartParts) {
    this.#parts = parts;
    this.number = parts.number;
    this.#record = new RestartRecord(parts.number, parts.predecessor, monotonicMs());
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {});
    this.#child = parts.successor;
    this.stage('spawn', { pid: this.pid });
    this.#child.exited.then((exit) => this.#ended(exit));
  }

  /** Settles when the successor's process has ended, as far as that is known here. */
  get exited(): Promise<Exit> {
    return this.#child.exited;
  }

  /** Whether this process has started the successor. */
  get isOwn(): boolean {
    return this.#child.isOwn;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Whether it has succeeded or failed; probation may still go on. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Whether the successor accepts, or did. */
  get hasCommitted(): boolean {
    return this.#hasCommitted;
  }

  /** A stage was reached. */
  stage(stage: string, facts: Record<string, unknown>): void {
    const event = this.#record.note(stage, facts, monotonicMs(), wallClockMs(), !this.#isSettled);
    this.#parts.onStage(event);
    if (stage === 'commit') this.#hasCommitted = true;
    if (stage !== 'connections' || this.#isSettled) return;
    this.#isSettled = true;
    // It goes on without this process, which will end before it.
    this.#child.unref();
    this.#resolve(this.#record.summary(monotonicMs()));
  }

  /** The handover failed or was undone. @param alive whether the successor lives, and hands back what it has. */
  fail(error: MoultError, alive: boolean): void {
    const { drainTimeoutMs, stopTimeoutMs } = this.#parts.options;
    if (alive) {
      const limit = setTimeout(() => this.#child.kill(), drainTimeoutMs + stopTimeoutMs);
      limit.unref();
      this.#child.exited.then(() => clearTimeout(limit));
    } else this.#child.kill();
    if (this.#isSettled) return;
    this.#isSettled = true;
    const gone = alive ? Promise.resolve(undefined) : this.#child.exited;
    gone.then((exit) => this.#reject(this.#explain(error, exit)));
  }

  // The generation decides: it may have committed in the same moment, and then undoes it.
  #ended(exit: Exit): void {
    if (this.#hasCommitted || this.#isSettled) return;
    const isStarted = exit.notStarted === undefined;
    const message = `the successor ${describeExit(exit)}${isStarted ? ' before it had taken over' : ''}`;
    const code = isStarted ? 'MOULT_SUCCESSOR_EXITED' : 'MOULT_START_FAILED';
    const error = new MoultError(code, message, { serving: 'predecessor' });
    this.#parts.line.send({ type: 'abort', error: error.report() });
  }

  #explain(error: MoultError, exit: Exit | undefined): MoultError {
    const wasLost = error.code === 'MOULT_SUCCESSOR_EXITED' || error.code === 'MOULT_SUCCESSOR_LOST';
    // SIGKILL is how it is ended here.
    const ownEnd = wasLost && exit !== undefined && exit.signal !== 'SIGKILL';
    const before = this.#hasCommitted ? 'proved itself' : 'taken over';
    const message = ownEnd ? `the successor ${describeExit(exit)} before it had ${before}` : error.message;
    return new MoultError(error.code, message, {
      serving: 'predecessor',
      stage: error.stage ?? this.#record.lastStage,
      details: { ...error.details, generation: this.number },
      cause: error,
    });
  }
}
