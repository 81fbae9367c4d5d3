import { MoultError } from '../errors.js';
import type { GenerationProcess } from './generation-process.js';
import type { SupervisorOptions } from './options.js';
import { ProbationWatch } from './probation-watch.js';

interface Period {
  readonly successor: GenerationProcess;
  readonly predecessor: GenerationProcess;
  readonly watch: ProbationWatch;
  /** Settles when the successor is confirmed; rejects when the handover is undone. */
  readonly outcome: Promise<void>;
  readonly settle: (error?: MoultError) => void;
}

/** The time after a commit in which the predecessor can resume; there is at most one such period at a time. */
export class Probation {
  readonly #options: SupervisorOptions;
  readonly #check: (generation: GenerationProcess) => Promise<void>;
  #period: Period | undefined;

  /** @param check makes the configured check; rejects when it fails. */
  constructor(options: SupervisorOptions, check: (generation: GenerationProcess) => Promise<void>) {
    this.#options = options;
    this.#check = check;
  }

  get successor(): GenerationProcess | undefined {
    return this.#period?.successor;
  }

  get predecessor(): GenerationProcess | undefined {
    return this.#period?.predecessor;
  }

  /** Whether the predecessor lives, and would resume. */
  get canResume(): boolean {
    return this.#period !== undefined && this.#period.predecessor.exit === undefined;
  }

  /** A successor has committed: it is watched from now on, and undone when it fails. */
  begin(successor: GenerationProcess, predecessor: GenerationProcess): void {
    if (this.successor === successor && this.predecessor === predecessor) return;
    this.stop();
    // What is to be replaced has been confirmed by whoever asked for that.
    this.#period?.settle();
    let settle!: (error?: MoultError) => void;
    const outcome = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    outcome.catch(() => {});
    const watch = new ProbationWatch({
      successor,
      predecessor,
      options: this.#options,
      check: () => this.#check(successor),
      fail: (error) => undo(predecessor, successor, error),
    });
    this.#period = { successor, predecessor, watch, outcome, settle };
    // With both gone, one of them in the middle of handing back, nobody is left to say how it ended.
    Promise.all([successor.exited, predecessor.exited]).then(() => {
      const who = `generations ${predecessor.number} and ${successor.number}`;
      const error = new MoultError('MOULT_SUCCESSOR_LOST', `${who} have both ended`, { serving: 'none' });
      this.end(successor.number, error);
    });
  }

  /**
   * Settles when the generation of this number is confirmed, and at once where it is in no probation.
   * @throws the reason when it is undone.
   */
  async confirmed(number: number): Promise<void> {
    if (this.#period?.successor.number === number) await this.#period.outcome;
  }

  /**
   * Gives the service back to the predecessor, because the operator asked for it.
   * @returns the predecessor, once it serves again or the probation has ended otherwise; undefined when there is none.
   */
  async takeBack(): Promise<GenerationProcess | undefined> {
    if (this.#period === undefined || !this.#period.predecessor.isReachable) return undefined;
    const { predecessor, successor, outcome } = this.#period;
    undo(
      predecessor,
      successor,
      new MoultError('MOULT_ROLLED_BACK', 'the operator asked for the predecessor back'),
    );
    await outcome.catch(() => {});
    return predecessor;
  }

  /**
   * The period of this successor is over.
   * @param error why it was undone.
   * @returns whether it was in probation.
   */
  end(number: number, error?: MoultError): boolean {
    if (this.#period?.successor.number !== number) return false;
    this.stop();
    this.#period.settle(error);
    this.#period = undefined;
    return true;
  }

  /** Watches no more. */
  stop(): void {
    this.#period?.watch.stop();
  }
}

function undo(predecessor: GenerationProcess, successor: GenerationProcess, error: MoultError): void {
  successor.isUndone = true;
  predecessor.lifeline?.send({ type: 'undo', error: error.report() });
}
