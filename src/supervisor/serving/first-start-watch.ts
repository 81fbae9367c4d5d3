import type { Logger } from 'pino';
import type { GenerationProcess } from '../process/generation-process.js';
import { whatItWaitsFor } from '../process/start-wait.js';

/** How long a first start may show nothing before it is said what it waits for. */
const PATIENCE_MS = 10_000;

/** Says what the first generation of a service waits for, once, where it has not come to serve in some time. */
export function tellWhatItWaitsFor(first: GenerationProcess, isProgram: boolean, log: Logger): void {
  const timer = setTimeout(() => {
    if (first.exit !== undefined || first.isEnding || first.servingSince !== undefined) return;
    log.warn(
      `generation ${first.number} (process ${first.servicePid}) has been starting for ${PATIENCE_MS / 1000} s: ${whatItWaitsFor(first, isProgram)}`,
    );
  }, PATIENCE_MS).unref();
  first.exited.then(() => clearTimeout(timer));
}
