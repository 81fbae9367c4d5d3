import type { TLSSocket } from 'node:tls';
import { descriptorOf } from '../../node/handle.js';
import { freeze, thaw, timeLeftMs } from '../../node/http/http1.js';
import { WriteHold } from '../../node/http/standstill.js';
import { giveTo } from '../../os/sockets/connection-owner.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import { MovedTlsSocket } from '../../tls/socket/moved-socket.js';
import { requestsOf } from '../http1/request-limit.js';
import { headDueAtMs, type Tracked } from '../tracker.js';
import type { Departing } from './connection-batches.js';
import { type HeldTls, holdTls, type StaysForNow, securedSocket } from './tls-hold.js';

/** What a client may agree upon by ALPN and speak HTTP/1.1. Source: IANA, TLS ALPN Protocol IDs; false is none. */
const HTTP1_PROTOCOLS: ReadonlySet<unknown> = new Set([undefined, null, false, 'http/1.1', 'http/1.0']);

/** Whether a connection over TLS does not speak HTTP/1.1, or no more: it ends here, in its own way. Source: node lib/_http_server.js, onParserExecuteCommon. */
export function isUpgradedOverTls(tracked: Tracked): boolean {
  const socket = securedSocket(tracked) as (TLSSocket & { readonly parser?: unknown }) | undefined;
  if (socket === undefined || socket.parser) return false;
  // A service may give clients that want another protocol, such as h2, to somebody else, who says something first.
  const isOther = !(socket instanceof MovedTlsSocket) && !HTTP1_PROTOCOLS.has(socket.alpnProtocol);
  return isOther || socket.bytesRead > 0;
}

/**
 * A TLS 1.3 connection of an HTTP/1.1 server at rest, on its way out. From its capture on this process cannot write on
 * it: its state is the taker's as soon as this process has destroyed its own object, or has ended.
 */
export class DepartingTls implements Departing {
  readonly tracked: Tracked;
  readonly #socket: TLSSocket;
  readonly #held: HeldTls;
  /** What the service writes on Node's own TLS waits here; a socket of ours holds it itself. */
  readonly #writes: WriteHold | undefined;
  readonly #descriptor: number;
  readonly #listener: string;
  readonly #frozenAtMs: number;
  readonly #idleLeftMs: number | null;

  private constructor(
    tracked: Tracked,
    socket: TLSSocket,
    held: HeldTls,
    writes: WriteHold | undefined,
    { listener, taker, frozenAtMs, timersNowMs }: Terms,
  ) {
    this.tracked = tracked;
    this.#socket = socket;
    this.#held = held;
    this.#writes = writes;
    this.#descriptor = descriptorOf(socket);
    this.#listener = listener;
    this.#frozenAtMs = frozenAtMs;
    this.#idleLeftMs = timeLeftMs(socket, timersNowMs);
    // Only now that nothing can be written here any more: should we die, the taker goes on with the state.
    giveTo(this.#descriptor, taker);
    socket.setTimeout(0);
  }

  /** Captures a connection whose reads have stopped, or says why not; then it is as it was. */
  static of(tracked: Tracked, socket: TLSSocket, terms: Terms): DepartingTls | StaysForNow {
    if (socket instanceof MovedTlsSocket) {
      const held = holdTls(socket);
      return 'why' in held ? held : new DepartingTls(tracked, socket, held, undefined, terms);
    }
    freeze(socket);
    const writes = new WriteHold(socket);
    const held = holdTls(socket);
    if (!('why' in held)) return new DepartingTls(tracked, socket, held, writes, terms);
    writes.release();
    return held;
  }

  get descriptors(): readonly number[] {
    return [this.#descriptor];
  }

  /** Its state; it goes right behind the descriptors. */
  get ahead(): Buffer {
    return this.#held.bytes;
  }

  item(): ConnectionItem {
    const dueMs = this.#socket.bytesRead === 0 ? headDueAtMs(this.tracked) : null;
    return {
      listener: this.#listener,
      kind: 'tls',
      idleLeftMs: this.#idleLeftMs,
      headLeftMs: dueMs === null ? null : Math.max(1, dueMs - performance.now()),
      requests: requestsOf(this.tracked),
      frozenAtMs: this.#frozenAtMs,
    };
  }

  leave(): { data: undefined } | 'stays' {
    // What the service wants to send is sealed here, with the state that is the taker's copy: so that one is not used.
    if (this.#socket.writableLength > 0 || (this.#socket.writableEnded && !this.#socket.destroyed))
      return 'stays';
    this.#held.forget();
    this.#socket.destroy();
    return { data: undefined };
  }

  stay(): void {
    this.#held.forget();
    // First whose it is: a taker that finds us gone later must not go on with what we have used since.
    if (!this.#socket.destroyed) giveTo(this.#descriptor, process.pid);
    this.#held.release();
    this.#writes?.release();
    thaw(this.#socket);
    if (this.#idleLeftMs !== null && !this.#socket.destroyed)
      this.#socket.setTimeout(Math.max(1, this.#idleLeftMs));
  }
}

interface Terms {
  readonly listener: string;
  /** The process to which it goes. */
  readonly taker: number;
  readonly frozenAtMs: number;
  /** The time in which timers count. */
  readonly timersNowMs: number;
}
