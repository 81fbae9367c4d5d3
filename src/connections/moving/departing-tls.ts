import type { Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { descriptorOf } from '../../node/handle.js';
import { freeze, thaw, timeLeftMs } from '../../node/http/http1.js';
import { WriteHold } from '../../node/http/standstill.js';
import { isHttps, tlsSocketOf } from '../../node/tls-sockets.js';
import { giveTo } from '../../os/files/ownership.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import { capture, isFlushed, movableCipher } from '../../tls/capture/capture.js';
import { blockWrites } from '../../tls/capture/write-block.js';
import type { Places } from '../../tls/search/places.js';
import { foundPlaces } from '../../tls/self-test.js';
import { captureMoved, MovedTlsSocket } from '../../tls/socket/moved-socket.js';
import { encodeTlsState, MAX_STATE_BYTES } from '../../tls/state/state-codec.js';
import { forgetSecrets, type TlsState } from '../../tls/state/tls-state.js';
import { requestsOf } from '../http1/request-limit.js';
import { headDueAtMs, type Tracked } from '../tracker.js';
import type { Departing } from './batches.js';

/** The socket of a connection over TLS with which its service works; undefined before its handshake is over. */
export function securedSocket({
  socket,
  server,
}: {
  readonly socket: Tracked['socket'];
  readonly server: Server;
}): TLSSocket | undefined {
  if (!isHttps(server)) return undefined;
  return socket instanceof MovedTlsSocket ? socket : tlsSocketOf(socket);
}

/** Why a connection over TLS cannot move at all; undefined for one that can, or of which it is not known yet. */
export function whyTlsStays(tracked: Tracked): string | undefined {
  const socket = securedSocket(tracked);
  if (socket === undefined || socket instanceof MovedTlsSocket) return undefined;
  const cipher = movableCipher(socket);
  return typeof cipher === 'string' ? undefined : cipher.why;
}

/** Whether a connection over TLS speaks HTTP no more: it ends here, in its own way. Source: node lib/_http_server.js, onParserExecuteCommon. */
export function isUpgradedOverTls(tracked: Tracked): boolean {
  const socket = securedSocket(tracked) as (TLSSocket & { readonly parser?: unknown }) | undefined;
  return socket !== undefined && socket.bytesRead > 0 && !socket.parser;
}

/** One that cannot leave in this turn, or ever. */
export interface StaysForNow {
  readonly why: string;
  readonly isForGood: boolean;
}

interface Held {
  readonly state: TlsState;
  /** It may write and read again. */
  release(): void;
}

/**
 * A TLS 1.3 connection of an HTTP/1.1 server at rest, on its way out. From its capture on this process cannot write on
 * it: its state is the taker's as soon as this process has destroyed its own object, or has ended.
 */
export class DepartingTls implements Departing {
  readonly tracked: Tracked;
  readonly #socket: TLSSocket;
  readonly #held: Held;
  readonly #bytes: Buffer;
  readonly #descriptor: number;
  readonly #listener: string;
  readonly #frozenAtMs: number;
  readonly #idleLeftMs: number | null;

  private constructor(
    tracked: Tracked,
    socket: TLSSocket,
    held: Held,
    bytes: Buffer,
    { listener, taker, frozenAtMs, timersNowMs }: Terms,
  ) {
    this.tracked = tracked;
    this.#socket = socket;
    this.#held = held;
    this.#bytes = bytes;
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
    const held = socket instanceof MovedTlsSocket ? holdMoved(socket) : holdNative(socket, foundPlaces());
    if ('why' in held) return held;
    const bytes = encodeTlsState(held.state);
    if (bytes !== undefined) return new DepartingTls(tracked, socket, held, bytes, terms);
    forgetSecrets(held.state);
    held.release();
    return { why: `TLS: its state is larger than ${MAX_STATE_BYTES} bytes`, isForGood: true };
  }

  get descriptors(): readonly number[] {
    return [this.#descriptor];
  }

  /** Its state; it goes right behind the descriptors. */
  get ahead(): Buffer {
    return this.#bytes;
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
    this.#forget();
    this.#socket.destroy();
    return { data: undefined };
  }

  stay(): void {
    this.#forget();
    // First whose it is: a taker that finds us gone later must not go on with what we have used since.
    if (!this.#socket.destroyed) giveTo(this.#descriptor, process.pid);
    this.#held.release();
    thaw(this.#socket);
    if (this.#idleLeftMs !== null && !this.#socket.destroyed)
      this.#socket.setTimeout(Math.max(1, this.#idleLeftMs));
  }

  #forget(): void {
    forgetSecrets(this.#held.state);
    this.#bytes.fill(0);
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

function holdMoved(socket: MovedTlsSocket): Held | StaysForNow {
  const state = captureMoved(socket);
  if (state === undefined) return { why: 'TLS: a record was under way', isForGood: false };
  const unblock = blockWrites(socket);
  return {
    state,
    release: () => {
      unblock();
      socket.release();
    },
  };
}

function holdNative(socket: TLSSocket, places: Places | undefined): Held | StaysForNow {
  if (places === undefined) return { why: 'TLS: its state cannot be read', isForGood: true };
  if (!isFlushed(socket)) return { why: 'TLS: a record was not sent', isForGood: false };
  freeze(socket);
  const hold = new WriteHold(socket);
  const unblock = blockWrites(socket);
  const release = () => {
    unblock();
    hold.release();
  };
  const captured = capture(socket, places);
  if ('state' in captured) return { state: captured.state, release };
  release();
  return captured;
}
