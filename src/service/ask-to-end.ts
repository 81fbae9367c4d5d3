import { endWorkers } from './cluster-workers.js';

/** The longest time between a signal's being sent to this process and its handlers' hearing of it. */
const DELIVERY_MS = 1000;

/** What PM2 and naught send a program over their channel, where it is to end by that. */
const SHUTDOWN = 'shutdown';

/**
 * Asks the program of this process to end, in the way in which it listens: by the stop signal where it has a handler
 * for that; else by SIGINT, as PM2 does, where it has one for that; else by the message that PM2 and naught send, where
 * it awaits messages though nobody has a channel to it; else by the stop signal, which ends it, once workers of
 * node:cluster have finished their requests.
 */
export function askToEnd(stopSignal: NodeJS.Signals): void {
  const way = [stopSignal, 'SIGINT', 'message'].find((event) => process.listenerCount(event) > 0);
  if (way === 'message' && process.channel === undefined) {
    setImmediate(() => process.emit('message', SHUTDOWN, undefined));
    return;
  }
  const name = way === 'SIGINT' ? way : stopSignal;
  // With nothing left to do the process would end before its own handlers hear of the signal.
  if (process.listenerCount(name) > 0) {
    const alive = setTimeout(() => {}, DELIVERY_MS);
    process.once(name, () => clearTimeout(alive));
  }
  const send = () => process.kill(process.pid, name);
  // A program that does not know of the signal would cut what its workers are answering.
  if (way === undefined) endWorkers(() => setImmediate(send));
  else setImmediate(send);
}
