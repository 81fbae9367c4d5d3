import type { RemoteInfo, Socket } from 'node:dgram';
import { declareFlows, type FlowTable, flowsOf, MAX_FLOWS, MAX_KEY_LENGTH } from '../connections/flows.js';
import { MoultError } from '../errors.js';

/** What a service says of the flows of a datagram socket. */
export interface DatagramFlowOptions {
  /**
   * The flow to which a datagram belongs, such as a connection id in it, or the address that it came from:
   * 1 to 256 characters, the same in every release; undefined for a datagram of no flow. It must change nothing.
   * Called only while another generation has flows, for each datagram.
   */
  key(message: Buffer, remote: RemoteInfo): string | undefined;
}

/** The flows of a datagram socket that are this generation's. */
export interface DatagramFlows {
  /**
   * A flow is this generation's from now on: its datagrams come here, also when a successor serves, until it ends or
   * the drain is over. To be called in the turn in which its first datagram came. One that has begun already goes on.
   * @returns false where 65,536 flows have begun and not ended: then it goes to whoever serves.
   * @throws MOULT_BAD_OPTION for a key that cannot be used.
   */
  begin(key: string): boolean;
  /** A flow is over: what comes of it later goes to whoever serves. */
  end(key: string): void;
  /** Whether a flow is this generation's. */
  has(key: string): boolean;
  /** How many are. */
  readonly size: number;
}

/**
 * Declares the flows of a datagram socket: "connections" over UDP, of which a process remembers something. A
 * predecessor keeps those that it has, and gets their datagrams from its successor, which receives all; new ones
 * are the successor's. To be called by every release, before the socket is bound or in the same turn. Where the process does
 * not run under moult it changes nothing.
 * @throws MOULT_BAD_OPTION for a socket whose flows have been declared.
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
