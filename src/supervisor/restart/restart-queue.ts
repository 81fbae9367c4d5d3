import { isDeepStrictEqual } from 'node:util';
import { MoultError } from '../../errors.js';

/** A start that no restart asked for: the first one, or one after a crash. */
export interface OtherStart<A> {
  isUnderWay(): boolean;
  /** Settles when it is over. @throws when the next one cannot begin. */
  over(asked: A): Promise<void>;
}

interface Waiting<A, T> {
  readonly asked: A;
  readonly done: Promise<T>;
}

/** One restart at a time; those that are asked for meanwhile follow, and those that ask for the same become one. */
export class RestartQueue<A, T> {
  readonly #other: OtherStart<A>;
  readonly #begin: (asked: A) => Promise<T>;
  #running: Promise<T> | undefined;
  #following: Waiting<A, T>[] = [];

  /** @param begin makes a restart; it is called for one at a time. */
  constructor(other: OtherStart<A>, begin: (asked: A) => Promise<T>) {
    this.#other = other;
    this.#begin = begin;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Runs a restart now, or has it follow. @throws MOULT_RESTART_IN_PROGRESS where it is not to wait. */
  enqueue(ifBusy: 'wait' | 'refuse', asked: A): Promise<T> {
    const isBusy = this.isRunning || this.#following.length > 0 || this.#other.isUnderWay();
    if (!isBusy) return this.#run(asked);
    if (ifBusy === 'refuse') {
      const message = 'a generation is just taking over';
      return Promise.reject(new MoultError('MOULT_RESTART_IN_PROGRESS', message, { serving: 'unchanged' }));
    }
    const last = this.#following.at(-1);
    if (last !== undefined && isDeepStrictEqual(last.asked, asked)) return last.done;
    const done = this.#follow(last?.done, asked);
    this.#following.push({ asked, done });
    return done;
  }

  async #follow(before: Promise<T> | undefined, asked: A): Promise<T> {
    await before?.catch(() => {});
    try {
      await this.#running?.catch(() => {});
      if (this.#other.isUnderWay()) await this.#other.over(asked);
    } finally {
      this.#following.shift();
    }
    return this.#run(asked);
  }

  #run(asked: A): Promise<T> {
    const running = this.#begin(asked).finally(() => {
      this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
