import type { ResponseCounter } from '../../connections/http1/response-counter.js';
import { type Measuring, together } from '../../connections/measuring.js';
import type { GenerationContext } from '../../handover/generation-context.js';
import type { Predecessor } from '../../handover/predecessor.js';
import type { Listener } from '../../listeners/listener.js';
import { requestsInFlight } from '../../node/http/http1.js';
import { residentBytes } from '../../os/processes/proc-tree.js';
import type { GenerationState } from '../../protocol/messages.js';

/** What is told of a generation. */
export interface DescribedGeneration {
  readonly number: number;
  readonly startedAt: number;
  readonly tookOver: boolean;
  readonly context: GenerationContext;
  readonly predecessor: Predecessor;
  readonly counter: ResponseCounter;
  readonly measuring: Measuring;
}

/** How a generation does. @param measure whether it measures from now on, and tells what it has measured. */
export async function describeGeneration(
  { number, startedAt, tookOver, context, predecessor, counter, measuring }: DescribedGeneration,
  measure: boolean,
): Promise<GenerationState> {
  const { listeners, connections, critical } = context;
  const threads = await context.threads.counts(measure);
  const own = measure ? [measuring.ask()] : [];
  const measures = together([...own, ...threads.measures]);
  const draining = predecessor.draining(measure);
  return {
    generation: number,
    pid: process.pid,
    state: predecessor.state,
    entry: process.argv[1] ?? '',
    startedAt,
    tookOver,
    listeners: listeners.sockets().map((listener) => ({
      name: listener.identity.name,
      address: addressOf(listener),
    })),
    connections: connections.size + threads.connections,
    inFlight: connections.servers().reduce((sum, server) => sum + requestsInFlight(server), threads.inFlight),
    critical: critical.size,
    responses: counter.responses + threads.responses,
    errors: counter.errors + threads.errors,
    moves: context.moves,
    memoryBytes: residentBytes(process.pid),
    ...(measures && { measures }),
    ...(draining && { draining }),
  };
}

function addressOf(listener: Listener): Record<string, unknown> {
  const address = listener.address();
  const transport = listener.identity.family === 'udp' ? { transport: 'udp' } : {};
  if (typeof address === 'object' && address !== null) return { ...address, ...transport };
  return { path: listener.identity.path ?? address ?? listener.identity.name };
}
