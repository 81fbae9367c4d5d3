import type { Server, Socket } from 'node:net';
import type { ConnectionTracker } from '../connections/tracker.js';
import type { ListenerRegistry } from '../listeners/registry.js';

/** What a generation has, and hands over. */
export interface Estate {
  readonly listeners: ListenerRegistry;
  readonly connections: ConnectionTracker;
  /** The kinds of connections that this process can move, as its self-test found. */
  readonly moves: { readonly http1: 'yes' | string };
  /** Counts commits; only grows. */
  epoch: number;
  /** Whether connections still come from its own predecessor. */
  isBeingFed(): boolean;
}

/** Whether a connection of a server belongs to a kind that can move at all. */
export type Movable = (server: Server, socket?: Socket) => boolean;
