import { MoultError } from '../../errors.js';
import type { GenerationState } from '../../protocol/messages.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { wasNotMade } from './health-check.js';

/** How often a successor in probation is looked at. */
const LOOK_MS = 1000;
/** How many responses are needed before a share of errors means anything. */
const MIN_RESPONSES = 50;

/** Watches a successor after commit, until it is stopped or the successor has failed. */
export class ProbationMonitor {
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #hasAnswered = false;
  #baseline: number | undefined;
  readonly #fail: (error: MoultError) => void;
  readonly #ask: () => Promise<GenerationState>;

  /**
   * @param check makes the configured check; rejects when it fails.
   * @param fail is called once, with the reason.
   */
  constructor(watched: {
    readonly successor: GenerationProcess;
    /** With whose errors its own are compared; undefined where there is none. */
    readonly predecessor: GenerationProcess | undefined;
    readonly options: SupervisorOptions;
    readonly check: () => Promise<void>;
    readonly fail: (error: MoultError) => void;
  }) {
    this.#fail = watched.fail;
    this.#ask = () => this.#answer(watched.successor, watched.options.hangTimeoutMs);
    const look = async () => {
      try {
        await this.#look(watched);
      } catch (error) {
        this.fail(error as MoultError);
      }
      if (!this.#isOver) this.#timer = setTimeout(look, LOOK_MS);
    };
    this.#timer = setTimeout(look, LOOK_MS);
  }

  /** It has failed, as was seen here or elsewhere; nothing happens where it is watched no more. */
  fail(error: MoultError): void {
    if (this.#isOver) return;
    this.stop();
    this.#fail(error);
  }

  /**
   * Asks once more, at the end of its time. One that has never answered may be busy all the time, and is not asked.
   * @returns whether it answers still; where it does not it has failed.
   */
  async answersStill(): Promise<boolean> {
    if (!this.#hasAnswered) return true;
    try {
      await this.#ask();
      return true;
    } catch (error) {
      this.fail(error as MoultError);
      return false;
    }
  }

  /** Looks no more. */
  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  async #answer(successor: GenerationProcess, hangTimeoutMs: number): Promise<GenerationState> {
    const state = await successor.state(hangTimeoutMs).catch((cause) => {
      throw new MoultError(
        'MOULT_PROBATION_FAILED',
        `generation ${successor.number} did not answer for ${hangTimeoutMs} ms: it hangs`,
        { cause },
      );
    });
    this.#hasAnswered = true;
    return state;
  }

  async #look({
    successor,
    predecessor,
    options,
    check,
  }: ConstructorParameters<typeof ProbationMonitor>[0]): Promise<void> {
    const state = await this.#ask();
    await check().catch((error: unknown) => {
      // It says nothing of the successor.
      if (!wasNotMade(error)) throw error;
    });
    if (options.maxErrorRate === null) return;
    this.#baseline ??= share(await predecessor?.state(options.hangTimeoutMs).catch(() => undefined));
    const now = share(state);
    if (state.responses >= MIN_RESPONSES && now > this.#baseline + options.maxErrorRate) {
      throw new MoultError(
        'MOULT_PROBATION_FAILED',
        `generation ${successor.number} answers ${percent(now)} of its requests with 5xx, ${
          predecessor === undefined ? 'expected' : `generation ${predecessor.number} answered`
        } ${percent(this.#baseline)}`,
      );
    }
  }
}

function share(state: GenerationState | undefined): number {
  return state === undefined || state.responses === 0 ? 0 : state.errors / state.responses;
}

function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}
