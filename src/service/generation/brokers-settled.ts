import { knownHub } from '../../broadcast/shared.js';

/**
 * For so many tenths of a second in which this process runs, a successor waits for the brokers to which its service
 * subscribes, and for no longer than half the time that it has to be ready; one may be away.
 */
const MAX_WAIT_TICKS = 50;
const TICK_MS = 100;

/**
 * Calls back when a successor receives what brokers publish, and clients of its predecessor can be placed among it: from
 * then on a client misses none, wherever it connects. At once for one that subscribes to none, or has no predecessor.
 * @param readyTimeoutMs how long it may take to be ready.
 */
export function whenBrokersSettled(hasPredecessor: boolean, readyTimeoutMs: number, then: () => void): void {
  const hub = knownHub();
  // Another copy of moult may have made it, which says nothing of that.
  if (!hasPredecessor || hub === undefined || hub.feeds.areSettled !== false) {
    then();
    return;
  }
  let isCalled = false;
  const maxTicks = Math.min(MAX_WAIT_TICKS, readyTimeoutMs / 2 / TICK_MS);
  let waited = 0;
  const call = () => {
    clearInterval(ticks);
    if (!isCalled) then();
    isCalled = true;
  };
  const ticks = setInterval(() => {
    waited += 1;
    if (waited > maxTicks) call();
  }, TICK_MS);
  void hub.feedsSettled().then(call);
}
