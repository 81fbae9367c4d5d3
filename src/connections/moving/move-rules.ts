import type { Server, Socket } from 'node:net';
import { isHttps, socketAbove } from '../../node/tls-sockets.js';
import type { MoverItem } from '../../protocol/messages.js';
import type { Tracked } from '../tracker.js';
import { isUpgradedOverTls } from './departing-tls.js';
import { isGiven, type Mover, moverOf } from './movers.js';
import { whyTlsStays } from './tls-hold.js';

/** Where connections of a server go: the listener's name in the successor, for those that stand between requests. */
export type Destination = (server: Server, socket: Socket) => string | undefined;

/** Where connections that the service has declared movable go, and what can be taken there. */
export type CarriedDestination = (
  server: Server,
  socket: Socket,
) => { readonly listener: string; readonly movers: readonly MoverItem[] } | undefined;

/** Which connections can move to the other side, and why others stay. */
export class MoveRules {
  readonly #destination: Destination;
  readonly #carriedDestination: CarriedDestination;
  /** Those that cannot move, and why. */
  readonly #staying = new WeakMap<Tracked, string>();

  constructor(destination: Destination, carriedDestination: CarriedDestination) {
    this.#destination = destination;
    this.#carriedDestination = carriedDestination;
  }

  /** Whether a connection can move, now or when it has come to rest. */
  canGo(tracked: Tracked): boolean {
    const mover = this.moverOf(tracked);
    if (mover !== undefined)
      return this.carriedTo(tracked, mover) !== undefined && this.#mayGoOverTls(tracked);
    const { socket, server } = tracked;
    if (isGiven(socketAbove(socket), server) || this.#destination(server, socket) === undefined) return false;
    return !isHttps(server) || (!isUpgradedOverTls(tracked) && this.#mayGoOverTls(tracked));
  }

  /** What moves it, where the service has declared it movable. */
  moverOf({ socket, server }: Tracked): Mover | undefined {
    return moverOf(socketAbove(socket), server);
  }

  /** The listener of the other side to which an HTTP/1.1 connection goes. */
  http1To({ server, socket }: Tracked): string {
    return this.#destination(server, socket) ?? '';
  }

  /** The listener of the other side to which a mover's connection goes. */
  carriedTo(tracked: Tracked, mover: Mover): string | undefined {
    if (this.#staying.has(tracked)) return undefined;
    const to = this.#carriedDestination(tracked.server, tracked.socket);
    const takes = to?.movers.find(({ name }) => name === mover.name);
    const isTaken = takes !== undefined && mover.version >= takes.min && mover.version <= takes.max;
    return isTaken ? to?.listener : undefined;
  }

  /** It cannot move. */
  stays(tracked: Tracked, why: string): void {
    this.#staying.set(tracked, why);
  }

  /** Why it cannot move, where that is known. */
  whyStays(tracked: Tracked): string | undefined {
    return this.#staying.get(tracked);
  }

  // Whether nothing of the TLS of a connection keeps it for good; true without TLS, and during its handshake.
  #mayGoOverTls(tracked: Tracked): boolean {
    if (this.#staying.has(tracked)) return false;
    const why = whyTlsStays(tracked);
    if (why !== undefined) this.#staying.set(tracked, why);
    return why === undefined;
  }
}
