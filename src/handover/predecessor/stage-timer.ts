import { Deadline } from '../../os/deadline.js';

/** The time limit of the stage that a handover is in. There is one at most: a new one replaces the last. */
export class StageLimit {
  #deadline: Deadline | undefined;

  /** Begins a limit in place of the last one. @param strike called when the stage takes longer than this. */
  set(ms: number, strike: () => void): void {
    this.clear();
    this.#deadline = new Deadline(ms, strike);
  }

  /** The stage is over, or has no limit. */
  clear(): void {
    this.#deadline?.clear();
    this.#deadline = undefined;
  }
}
