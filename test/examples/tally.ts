import assert from 'node:assert/strict';
import { until } from '../integration/supervised.js';
import { endsWithTest } from '../support/ends-with-test.js';

/** Connections that stay wait for a probation of ten seconds first. */
const HEARD_MS = 90_000;

/** What the clients of one test met. */
export class Tally {
  readonly failures: string[] = [];
  readonly #answers = new Map<string, number>();
  /** Aborts when nobody is to ask any more. */
  readonly isOver = new AbortController();

  /** Notes an answer; each of the examples says who gave it. */
  answered(text: string): void {
    const by = /(?:generation|process) (\d+)/.exec(text)?.[1];
    if (by === undefined) this.failed(`an answer by nobody: ${JSON.stringify(text.slice(0, 200))}`);
    else this.#answers.set(by, (this.#answers.get(by) ?? 0) + 1);
  }

  failed(what: unknown): void {
    this.failures.push(what instanceof Error ? (what.stack ?? what.message) : String(what));
  }

  /** Who has answered, in order of appearance: a generation's number, or its process's. */
  get versions(): string[] {
    return [...this.#answers.keys()];
  }

  /** Waits until so many different versions have answered, the last of them often. */
  async hears(versions: number): Promise<void> {
    const isHeard = () => {
      const last = this.versions.at(-1);
      const isEnough = last !== undefined && (this.#answers.get(last) ?? 0) >= 10;
      return this.failures.length > 0 || (this.versions.length >= versions && isEnough);
    };
    await until(`${versions} versions have answered`, isHeard, HEARD_MS).catch((error: Error) =>
      assert.fail(`${error.message}: ${JSON.stringify([...this.#answers])}`),
    );
  }
}

/** Clients that ask until they are stopped. */
export interface Clients {
  readonly tally: Tally;
  /** Ends them, and returns when what was asked is answered, or has failed. */
  stop(): Promise<void>;
}

/** So many clients, each of which asks again and again. */
export function inLoops(count: number, tally: Tally, ask: (index: number) => Promise<unknown>): Clients {
  const loops = Array.from({ length: count }, async (_, index) => {
    while (!tally.isOver.signal.aborted) await ask(index).catch((error) => tally.failed(error));
  });
  const stop = async () => {
    tally.isOver.abort();
    await Promise.all(loops);
  };
  endsWithTest(stop);
  return { tally, stop };
}
