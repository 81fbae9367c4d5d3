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
    return 'it has not sent READY=1 and has no socket of its own yet; --ready-after would make it ready after a time';
  if (first.lifeline === undefined)
    return 'no process of it has called listen() yet. A program that is not a Node service needs --program';
  if (first.settings.waitReady)
    return "it has not called process.send('ready'), which --wait-ready waits for";
  return 'it has called listen(), but is not listening yet';
}
