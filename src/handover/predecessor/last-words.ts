import { knownHub } from '../../broadcast/shared.js';
import type { DrainReport } from '../../protocol/messages.js';
import type { GenerationContext } from '../generation-context.js';
import type { Giving } from '../giving.js';

/** How long what is told to end at the deadline may take to heed it, so that the other side knows how far it came. */
const HEED_MS = 1000;

/**
 * Nothing is left here. Tells the other side what is left to tell, of state, tasks and broadcasts, before the process
 * ends.
 * @param giving what gives to the other side; undefined where there is none.
 * @param then called with the report of the whole process, threads included.
 */
export function lastWords(
  { tasks, threads }: GenerationContext,
  giving: Giving | undefined,
  ours: DrainReport,
  then: (report: DrainReport) => void,
): void {
  threads.endWith(ours, (report) => {
    const end = () => {
      giving?.stop();
      giving?.forget();
      then(report);
    };
    // What was sent here last is for clients that are elsewhere by now.
    const flush = () => {
      const hub = knownHub();
      if (hub === undefined) end();
      else hub.flushed().then(end);
    };
    // A consumer may have been given more time than the drain: what it has in hand goes back to its source first.
    tasks.hurry(HEED_MS, () => (giving === undefined ? flush() : giving.end(flush)));
  });
}
