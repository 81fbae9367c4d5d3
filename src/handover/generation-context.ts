import type { Socket } from 'node:net';
import type { Receiver } from '../connections/adopting/inflow.js';
import { flowsOf } from '../connections/flows.js';
import { moversFor } from '../connections/moving/movers.js';
import type { ConnectionTracker } from '../connections/tracker.js';
import { DatagramListener } from '../listeners/datagram-listener.js';
import type { ListenerRegistry } from '../listeners/registry.js';
import { isPlainHttp } from '../node/http/http1.js';
import { isHttps, isTlsServer } from '../node/tls-sockets.js';
import { MAX_MOVERS, type Message } from '../protocol/messages.js';
import type { StateEntries } from '../state/state-entries.js';
import type { Tasks } from '../tasks/tasks.js';
import type { CriticalSections } from './critical-sections.js';
import type { FallbackDoors } from './fallback-doors.js';
import type { FlowExchange } from './flow-exchange.js';
import type { Threads } from './threads.js';

/** The kinds of connections that can move here, as the self-tests found: `yes`, or why not. */
export interface Moves {
  readonly http1: 'yes' | string;
  /** HTTP/1.1 over TLS 1.3; undefined where nobody asked for it. */
  readonly tls?: 'yes' | string;
}

/** Connections that can be handed over, and what they belong to: of a whole process, or of one thread. */
export interface Movables {
  readonly listeners: ListenerRegistry;
  readonly connections: ConnectionTracker;
  readonly moves: Moves;
}

/** Brings connections to the slots to which they belong, and takes those that belong here. */
export interface SlotRouting extends Receiver {
  /** Where the generation of another slot is found to which this connection belongs; undefined for one that belongs here, or to none. */
  doorOf(socket: Socket): string | undefined;
  /** Connections that are here stay from now on, wherever they belong. */
  stopRelocating(): void;
}

/** What a generation has, and hands over. */
export interface GenerationContext extends Movables {
  /** Its worker threads that listen; none in most services. */
  readonly threads: Threads;
  /** Where threads of another process bring connections: to threads here, and to the main thread. */
  doorsForThreads(): string[];
  /** Brings datagrams to the generations that have their flows. */
  readonly flows: FlowExchange;
  /** Work of the service during which it must not be replaced. */
  readonly critical: CriticalSections;
  /** Brings connections to the slots to which they belong. */
  readonly stickyRouter: SlotRouting;
  /** What the service has in memory, and hands over. */
  readonly state: StateEntries;
  /** What one generation runs at a time. */
  readonly tasks: Tasks;
  /** Counts changes of who accepts; only grows. */
  epoch: number;
  /** Where fallbacks are let in, here and by earlier generations. */
  readonly fallbacks: FallbackDoors;
  /** Whether connections still come from another generation, or are on their way to one to which they belong. */
  isBeingFed(): boolean;
}

/** The listeners of this generation, each with the kinds of connections that it can take for it. */
export function movableClaims({ listeners, moves }: Movables): Message<'ready'>['claims'] {
  const http1 = moves.http1 === 'yes' ? (['http1'] as const) : [];
  return listeners.lasting().map((listener) => {
    const { name } = listener.identity;
    if (listener instanceof DatagramListener && flowsOf(listener.socket) !== undefined) {
      return { name, accepts: [], flows: true };
    }
    const server = listeners.serverOf(name);
    if (server === undefined) return { name, accepts: [] };
    const movers = moversFor(server)
      .slice(0, MAX_MOVERS)
      .map(({ name: mover, oldestVersion: min, version: max }) => ({ name: mover, min, max }));
    return {
      name,
      accepts: isPlainHttp(server) ? [...http1] : [],
      ...(isHttps(server) && moves.tls === 'yes' ? { tls: true } : {}),
      // An older release takes what `movers` names for connections without TLS.
      ...(!isTlsServer(server) ? { movers } : moves.tls === 'yes' ? { tlsMovers: movers } : {}),
    };
  });
}
