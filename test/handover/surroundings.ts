import { ConnectionTracker } from '#moult/connections/tracker.js';
import { CriticalSections } from '#moult/handover/critical-sections.js';
import type { FlowPeer } from '#moult/handover/flow-peer.js';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import { Threads } from '#moult/handover/threads.js';
import type { Settings } from '#moult/protocol/messages.js';
import type { StateEntries } from '#moult/state/state-entries.js';
import type { Tasks } from '#moult/tasks/tasks.js';

/** What a supervisor tells the generations of a model; times are of its own clock. */
export const settings: Settings = {
  readyTimeoutMs: 3000,
  drainTimeoutMs: 2000,
  probationMs: 4000,
  stopSignal: 'SIGTERM',
  waitReady: false,
  allowFewerListeners: false,
  checked: false,
  countErrors: false,
};

/** What a model of generations is about; the rest of what surrounds a handover does nothing. */
interface Modelled {
  readonly listeners: unknown;
  readonly state: StateEntries;
  readonly tasks: Tasks;
  readonly epoch: number;
  readonly isBeingFed: () => boolean;
  /** Where fallbacks are let in; by default nobody comes. */
  readonly fallbacks?: GenerationContext['fallbacks'];
}

/** A generation without connections, threads, slots and datagrams. */
export function surroundings(modelled: Modelled): GenerationContext {
  const noFlows = { tell: () => {}, stopTelling: () => {}, close: () => {}, isDone: true };
  return {
    fallbacks: { own: 'nowhere', earlier: () => [], open: async () => undefined },
    ...modelled,
    connections: new ConnectionTracker(() => false),
    moves: { http1: 'not in this test' },
    critical: new CriticalSections(),
    stickyRouter: {
      stopHoming: () => {},
      doorOf: () => undefined,
      mayTake: () => false,
      into: () => undefined,
    },
    threads: new Threads({ listens: () => {}, ready: () => {}, closed: () => {} }),
    doorsForThreads: () => [],
    flows: { join: () => noFlows as unknown as FlowPeer },
  } as unknown as GenerationContext;
}
