import type { RemoteInfo, Socket } from 'node:dgram';
import { declareFlows, type FlowTable, flowsOf, MAX_FLOWS, MAX_KEY_LENGTH } from '../connections/flows.js';
import { MoultError } from '../errors.js';

/** How to tell the flows of a datagram socket apart. */
export interface DatagramFlowOptions {
  /**
   * Returns the flow of a datagram, such as a connection id in it or its source address: 1 to 256 characters,
   * the same in every release; undefined if it belongs to none. It must have no side effects. moult calls it
   * for each datagram, but only while another generation has flows.
   */
  key(message: Buffer, remote: RemoteInfo): string | undefined;
}

/** The flows of a datagram socket that belong to this generation. */
export interface DatagramFlows {
  /**
   * Starts a flow: its datagrams come to this generation, even when a successor serves, until the flow ends
   * or the drain is over. Call it in the turn in which its first datagram arrived. It has no effect for a
   * flow that has already started.
   * @returns false if 65,536 flows are open; the datagrams then go to the serving generation.
   * @throws MOULT_BAD_OPTION for an invalid key.
   */
  begin(key: string): boolean;
  /** Ends a flow: its later datagrams go to the serving generation. */
  end(key: string): void;
  /** Whether a flow belongs to this generation. */
  has(key: string): boolean;
  /** The number of its flows. */
  readonly size: number;
}

/**
 * Declares the flows of a datagram socket: "connections" over UDP for which a process keeps state. A
 * predecessor keeps its flows and gets their datagrams from the successor, which receives everything; new
 * flows belong to the successor. Call it in every release, before the socket is bound or in the same turn.
 * Without moult, it has no effect.
 * @throws MOULT_BAD_OPTION for a socket whose flows are already declared.
 */
export function datagramFlows(socket: Socket, options: DatagramFlowOptions): DatagramFlows {
  if (flowsOf(socket) !== undefined) {
    throw new MoultError('MOULT_BAD_OPTION', 'datagramFlows: expected a socket once, received it again');
  }
  const own = new Map<string, number>();
  const watchers: FlowTable['watchers'] = new Set();
  declareFlows(socket, {
    own,
    watchers,
    keyOf: (message, remote) => {
      try {
        const key = options.key(message, remote);
        return isKey(key) ? key : undefined;
      } catch {
        return undefined;
      }
    },
  });
  return {
    begin(key) {
      if (!isKey(key)) {
        throw new MoultError(
          'MOULT_BAD_OPTION',
          `datagramFlows: expected a key of 1 to ${MAX_KEY_LENGTH} characters, received ${JSON.stringify(key)?.slice(0, 80)}`,
        );
      }
      if (own.has(key)) return true;
      if (own.size >= MAX_FLOWS) return false;
      own.set(key, performance.now());
      for (const watcher of watchers) watcher(key, true);
      return true;
    },
    end(key) {
      if (own.delete(key)) for (const watcher of watchers) watcher(key, false);
    },
    has: (key) => own.has(key),
    get size() {
      return own.size;
    },
  };
}

function isKey(key: unknown): key is string {
  return typeof key === 'string' && key.length >= 1 && key.length <= MAX_KEY_LENGTH;
}
