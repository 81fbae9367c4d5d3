import type { Logger } from 'pino';
import type { Line } from '../../channel/line.js';
import { signal } from '../../os/processes/process.js';
import type { GenerationProcess } from './generation-process.js';

/** How often to check whether the service's process has ended. */
const LOOK_MS = 50;
/** How long a wrapper such as npm or a shell may take to end after its service: it passes on how that ended. */
const PASS_ON_MS = 2000;
/** The same where the service was to end. */
const FOLLOW_MS = 300;
/** How long a wrapper may take to end by its signal. */
const END_MS = 1000;

/**
 * Ends a generation whose service has ended below a wrapper that goes on, such as a loop that starts it again, or a tool that
 * waits for a change: nobody serves any more, and what that wrapper starts now has no listeners. The end of the
 * wrapper is the end of the generation, with all that follows.
 * @param channel to the service; closed when that has ended.
 */
export function endWithService(generation: GenerationProcess, channel: Line, log: Logger): void {
  if (!generation.isOurs || generation.servicePid === generation.pid) return;
  const later = (ms: number, step: () => void) => {
    const timer = setTimeout(() => {
      if (generation.exit === undefined) step();
    }, ms);
    timer.unref();
    generation.exited.then(() => clearTimeout(timer));
  };
  const look = () => {
    // It may come back through another channel.
    if (generation.lifeline !== channel) return;
    if (!generation.hasLostService) later(LOOK_MS, look);
    else later(generation.isEnding ? FOLLOW_MS : PASS_ON_MS, end);
  };
  const end = () => {
    if (generation.isEnding) {
      signal(generation.pid, 'SIGTERM');
      later(END_MS, () => generation.kill());
      return;
    }
    const { number, servicePid, pid } = generation;
    log.warn(
      `generation ${number}: its service, process ${servicePid}, has exited, but process ${pid}, which started it, still runs: moult stops it`,
    );
    // Asked to end, some end with success; but the service has failed.
    generation.kill();
  };
  channel.closed.then(look);
}
