import { Deadline } from '../../os/deadline.js';
import type { PredecessorEvents } from './predecessor-events.js';

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

/** How long who looks from outside may take where it is gone: it does not keep two generations for ever. Where it is there, it is asked again. */
const LOOK_TIMEOUT_MS = 20_000;
/** The same where it is there: a generation that hangs may take as long to show itself as its operator allows. */
const LOOK_BACKSTOP_MS = 10 * 60_000;

/**
 * Waits for what the supervisor finds when it looks from outside. While one is there nothing is confirmed that it has not found.
 * @param events say whether a supervisor is there, and ask it.
 * @param confirm is called where nobody says what was found.
 */
export function awaitLook(
  limit: StageLimit,
  events: Pick<PredecessorEvents, 'isOverseen' | 'stage'>,
  confirm: () => void,
  leftMs = LOOK_BACKSTOP_MS,
): void {
  events.stage('verify', {});
  limit.set(LOOK_TIMEOUT_MS, () => {
    const rest = leftMs - LOOK_TIMEOUT_MS;
    if (rest > 0 && events.isOverseen()) awaitLook(limit, events, confirm, rest);
    else confirm();
  });
}
