import type { Logger } from 'pino';
import { wallClockMs } from '../os/clock.js';

/** Within so long */
const WITHIN_MS = 10 * 60_000;
/** so many errors are outlived. */
const MOST = 5;

/** What is done about an error that nothing expected. */
export interface LastResortParts {
  /** When there were some before, in the programs before this one: milliseconds since 1970. */
  readonly before: readonly number[];
  /**
   * Goes on as a new program, with what this one holds. Settles only where it is not the moment for that, with the
   * reason; rejects where it cannot be done.
   */
  readonly goOn: () => Promise<string>;
  readonly log: Logger;
}

/**
 * For errors that nothing expected, in whatever callback: what they have left undone is not known, so the supervisor
 * goes on by executing itself anew, as after `moult upgrade`. Where they come too often it ends, as by any such error.
 */
export class LastResort {
  readonly #parts: LastResortParts;
  #times: readonly number[];
  #isGoingOn = false;

  constructor(parts: LastResortParts) {
    this.#parts = parts;
    this.#times = parts.before;
  }

  /** When there were some: milliseconds since 1970, those that count. */
  get times(): readonly number[] {
    const now = wallClockMs();
    return this.#times.filter((at) => now - at >= 0 && now - at < WITHIN_MS);
  }

  /** From now on they come here. */
  begin(): void {
    this.end();
    process.on('uncaughtException', this.#meet);
  }

  /** They end the process again. */
  end(): void {
    process.off('uncaughtException', this.#meet);
  }

  readonly #meet = (error: unknown): void => {
    // What comes until the new program has shown that it loads is of the same fault.
    if (this.#isGoingOn) {
      this.#say(`another unexpected error: ${String(error)}`);
      return;
    }
    this.#times = [...this.times, wallClockMs()];
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const what = `unexpected error, a bug in moult: ${stack}`;
    if (this.#times.length > MOST) {
      this.#say(
        `${what}; it is error number ${this.#times.length} within ${WITHIN_MS / 60_000} min: moult exits`,
      );
      process.exit(1);
    }
    this.#say(`${what}; the supervisor restarts itself in place and keeps all it holds`);
    this.#isGoingOn = true;
    this.#parts
      .goOn()
      .then(
        (why) => this.#say(`the supervisor keeps running: ${why}`),
        (cause) => this.#say(`the supervisor could not restart itself (${String(cause)}) and keeps running`),
      )
      .finally(() => {
        this.#isGoingOn = false;
      });
  };

  // Where it could not be written there is nobody to tell.
  #say(what: string): void {
    try {
      this.#parts.log.error(what);
    } catch {}
  }
}
