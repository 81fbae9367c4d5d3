import { knownHub } from '../../broadcast/shared.js';
import type { DrainReport } from '../../protocol/messages.js';
import type { GenerationContext } from '../generation-context.js';
import type { Giving } from '../giving.js';

/**
 * Nothing is left here. Tells the other side what is left to tell, of state, tasks and broadcasts, before the process
 * ends.
 * @param giving what gives to the other side; undefined where there is none.
 * @param then called with the report of the whole process, threads included.
 */
export function lastWords(
  { threads }: GenerationContext,
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
    if (giving === undefined) flush();
    else giving.end(flush);
  });
}
