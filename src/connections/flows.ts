import type { RemoteInfo, Socket } from 'node:dgram';

/*
 * What a service has said of the flows of its datagram sockets. As with movers (movers.ts) two copies of this module
 * may meet in one process, so it is kept on globalThis, as objects of the shape below.
 */

/** At most this many flows may a socket have here at one time. */
export const MAX_FLOWS = 65_536;
/** At most this many characters may the name of a flow have. */
export const MAX_KEY_LENGTH = 256;

/** The flows of one datagram socket. */
export interface FlowTable {
  /** The flow to which a datagram belongs; undefined for none, and where the service's own function throws. */
  keyOf(message: Buffer, remote: RemoteInfo): string | undefined;
  /** Those that began here and have not ended, each with the `performance.now()` of its beginning. */
  readonly own: Map<string, number>;
  /** Told when one has begun or ended here. */
  readonly watchers: Set<(key: string, hasBegun: boolean) => void>;
}

const KEY = Symbol.for('moult.flows.1');

function tables(): WeakMap<Socket, FlowTable> {
  const shared = globalThis as { [KEY]?: WeakMap<Socket, FlowTable> };
  shared[KEY] ??= new WeakMap();
  return shared[KEY];
}

export function declareFlows(socket: Socket, table: FlowTable): void {
  tables().set(socket, table);
}

/** The flows of a socket, if its service has declared any. */
export function flowsOf(socket: Socket): FlowTable | undefined {
  return tables().get(socket);
}
