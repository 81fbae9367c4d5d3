import { createServer, type Server } from 'node:http';
import { ConnectionTracker } from '#moult/connections/tracker.js';
import { CriticalSections } from '#moult/handover/critical-sections.js';
import type { FlowPeer } from '#moult/handover/flow-peer.js';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import type { PredecessorEvents } from '#moult/handover/predecessor/predecessor-events.js';
import { Predecessor } from '#moult/handover/predecessor.js';
import { Successor } from '#moult/handover/successor.js';
import { Threads } from '#moult/handover/threads.js';
import type { Settings } from '#moult/protocol/messages.js';
import type { StateEntries } from '#moult/state/state-entries.js';
import type { Tasks } from '#moult/tasks/tasks.js';
import { End } from '../support/end.js';

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
  const noFlows = {
    tell: () => {},
    acknowledged: async () => {},
    stopTelling: () => {},
    close: () => {},
    isDone: true,
  };
  return {
    fallbacks: { own: 'nowhere', earlier: () => [], open: async () => undefined },
    ...modelled,
    connections: new ConnectionTracker(() => false),
    moves: { http1: 'not in this test' },
    critical: new CriticalSections(),
    stickyRouter: {
      stopRelocating: () => {},
      doorOf: () => undefined,
      mayTake: () => false,
      into: () => undefined,
    },
    threads: new Threads({ listens: () => {}, ready: () => {}, closed: () => {} }),
    doorsForThreads: () => [],
    flows: { join: () => noFlows as unknown as FlowPeer },
  } as unknown as GenerationContext;
}

/** The only listener of one generation, which notes whether it accepts; the socket itself lives until somebody closes it everywhere. */
export class ModelListener {
  readonly identity = { name: 'a', family: 'tcp', path: null };
  readonly fd = 3;
  state: 'gated' | 'open' | 'paused' | 'closed' = 'gated';
  readonly server: Server;
  readonly #closedEverywhere: () => void;

  constructor(server = createServer(), closedEverywhere = () => {}) {
    this.server = server;
    this.#closedEverywhere = closedEverywhere;
  }

  /** What a handover asks of all listeners. */
  get registry(): unknown {
    const own = () => (this.state === 'closed' ? [] : [this]);
    return {
      own,
      streams: own,
      sockets: own,
      datagrams: () => [],
      describe: () => ({ items: own().map(({ identity }) => identity), descriptors: [] }),
      pause: () => this.#become('open', 'paused'),
      resume: () => this.#become('paused', 'open'),
      successorHas: () => {},
      lasting: own,
      onProbation: () => {},
      proved: () => {},
      openGates: () => this.#become('gated', 'open'),
      release: (_: unknown, everywhere: boolean) => {
        this.state = 'closed';
        if (everywhere) this.#closedEverywhere();
      },
      of: () => undefined,
      serverOf: (name: string) => (name === this.identity.name ? this.server : undefined),
    };
  }

  #become(from: 'gated' | 'open' | 'paused', to: 'open' | 'paused'): void {
    if (this.state === from) this.state = to;
  }
}

/**
 * Both ends of the handovers of one generation, as service/generation.ts ties them together, and its channel to the
 * supervisor, whose far end is the test's.
 */
export function bothEnds(
  context: GenerationContext,
  pid: number,
  told: Partial<PredecessorEvents>,
): { predecessor: Predecessor; successor: Successor; lifeline: [End, End] } {
  const predecessor = new Predecessor(context, {
    isOverseen: () => false,
    stage: () => {},
    aborted: () => {},
    undone: () => {},
    takenBack: () => {},
    servesOn: () => {},
    released: () => {},
    given: () => {},
    drained: () => {},
    ...told,
  });
  const successor = new Successor(context, {
    committed: () => {},
    aborted: () => {},
    handBack: (channel, flows, message, returning) =>
      predecessor.giveBack(channel, flows, message, returning),
    retire: () => {},
    lateListener: () => {},
    confirmed: () => {},
    ended: () => predecessor.feedEnded(),
  });
  const lifeline = End.pair(pid, 1);
  successor.heed(lifeline[0].channel);
  return { predecessor, successor, lifeline };
}
