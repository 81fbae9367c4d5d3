import { runsSince } from '../../os/processes/proc-tree.js';
import type { ProbeConnection } from '../../os/sockets/probe-connection.js';

/** How long is waited for the answer of one that may keep its half of a connection open. */
const ANSWER_MS = 500;

/**
 * A process that has accepted a connection, and which may be ended by that. One that is started again each time would be taken
 * for one that serves.
 */
export class Acceptor {
  readonly #pid: number;
  readonly #since: number | undefined;
  readonly #untilMs = performance.now() + ANSWER_MS;

  constructor(pid: number) {
    this.#pid = pid;
    this.#since = runsSince(pid);
  }

  /** Whether it runs, the same one. */
  get runs(): boolean {
    return this.#since !== undefined && runsSince(this.#pid) === this.#since;
  }

  /**
   * Whether it has gone on after it had accepted this connection, of which it was told that nothing comes.
   * @returns undefined while it is not known.
   */
  hasOutlived(connection: ProbeConnection): boolean | undefined {
    // In this order: what ends it ends the process before the connection.
    const isOver = connection.isEnded() || performance.now() > this.#untilMs;
    if (!this.runs) return false;
    return isOver ? true : undefined;
  }
}
