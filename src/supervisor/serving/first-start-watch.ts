import type { Logger } from 'pino';
import type { GenerationProcess } from '../process/generation-process.js';

/** How long a first start may show nothing before it is said what it waits for. */
const PATIENCE_MS = 10_000;

/** Says what the first generation of a service waits for, once, where it has not come to serve in some time. */
export function tellWhatItWaitsFor(first: GenerationProcess, isProgram: boolean, log: Logger): void {
  const timer = setTimeout(() => {
    if (first.exit !== undefined || first.isEnding || first.servingSince !== undefined) return;
    log.warn(
      `generation ${first.number} (process ${first.servicePid}) has been starting for ${PATIENCE_MS / 1000} s: ${reason(first, isProgram)}`,
    );
  }, PATIENCE_MS).unref();
  first.exited.then(() => clearTimeout(timer));
}

function reason(first: GenerationProcess, isProgram: boolean): string {
  if (isProgram)
    return 'it has not said READY=1 and holds no socket of its own so far; --ready-after takes it for ready by time';
  if (first.lifeline === undefined)
    return 'no process of it has called listen() so far. A program that is no Node service needs --program';
  if (first.settings.waitReady) return "it has not said process.send('ready'), for which --wait-ready waits";
  return 'it has come to a listen(), but listens on nothing so far';
}
