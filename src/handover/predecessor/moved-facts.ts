import { classed } from '../../protocol/durations.js';
import type { GenerationContext, Moves } from '../generation-context.js';
import type { AllSettled } from '../threads.js';
import type { Departure } from './departure.js';

/**
 * Tells what the operator learns of connections once all that could move at once has moved.
 * @param tell called with the facts; not where nobody could take any, or they stay here after all.
 */
export async function tellMoved(
  { threads, connections, moves }: GenerationContext,
  leave: Departure,
  theirs: AllSettled,
  tell: (facts: Record<string, unknown>) => void,
): Promise<void> {
  const { outflow } = leave;
  if (outflow === undefined || leave.isStopped) return;
  const draining = threads.size === 0 ? 0 : (await threads.counts()).connections;
  if (leave.isStopped) return;
  const pauses = [...outflow.pausesMs, ...theirs.pausesMs].sort((a, b) => a - b);
  const failed = outflow.failed + theirs.notRestored;
  const remaining = leave.remaining();
  tell({
    moved: outflow.moved + theirs.moved,
    ...(failed === 0 ? {} : { notRestored: failed }),
    ...(theirs.silent === 0 ? {} : { silentThreads: theirs.silent }),
    draining: connections.size + draining,
    ...(remaining.length === 0 ? {} : { remaining }),
    longestPauseMs: pauses.at(-1) ?? 0,
    pauseP50Ms: pauses[Math.floor(pauses.length / 2)] ?? 0,
    pauseP99Ms: pauses[Math.floor(pauses.length * 0.99)] ?? 0,
    ...(pauses.length === 0 ? {} : { pauses: classed(pauses) }),
    ...drainedBecause(moves),
  });
}

function drainedBecause({ http1, tls = 'yes' }: Moves): { drainedBecause?: string } {
  if (http1 !== 'yes') return { drainedBecause: http1 };
  return tls === 'yes' ? {} : { drainedBecause: `TLS: ${tls}` };
}
