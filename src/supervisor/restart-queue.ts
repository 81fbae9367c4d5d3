import { MoultError } from '../errors.js';

/** A start that no restart asked for: the first one, or one after a crash. */
export interface OtherStart {
  isUnderWay(): boolean;
  /** Settles when it is over. @throws when the next one cannot begin. */
  over(): Promise<void>;
}

/** One restart at a time; those that are asked for meanwhile become one that follows. */
export class RestartQueue<T> {
  readonly #other: OtherStart;
  #running: Promise<T> | undefined;
  #following: Promise<T> | undefined;

  constructor(other: OtherStart) {
    this.#other = other;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Runs a restart now, or has it follow. @throws MOULT_RESTART_IN_PROGRESS where it is not to wait. */
  enqueue(ifBusy: 'wait' | 'refuse', begin: () => Promise<T>): Promise<T> {
    const isBusy = this.isRunning || this.#following !== undefined || this.#other.isUnderWay();
    if (!isBusy) return this.#run(begin);
    if (ifBusy === 'refuse') {
      const message = 'a generation is just taking over';
      return Promise.reject(new MoultError('MOULT_RESTART_IN_PROGRESS', message, { serving: 'unchanged' }));
    }
    this.#following ??= this.#idle()
      .finally(() => {
        this.#following = undefined;
      })
      .then(() => this.#run(begin));
    return this.#following;
  }

  #run(begin: () => Promise<T>): Promise<T> {
    const running = begin().finally(() => {
      this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #idle(): Promise<void> {
    await this.#running?.catch(() => {});
    if (this.#other.isUnderWay()) await this.#other.over();
  }
}
