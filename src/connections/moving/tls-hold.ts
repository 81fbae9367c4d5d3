import type { Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { isTlsServer, tlsSocketOf } from '../../node/tls-sockets.js';
import { capture, isFlushed, movableCipher, whyUnrest } from '../../tls/capture/capture.js';
import { blockWrites } from '../../tls/capture/write-block.js';
import { foundPlaces } from '../../tls/self-test.js';
import { captureMoved, MovedTlsSocket } from '../../tls/socket/moved-socket.js';
import { encodeTlsState, MAX_STATE_BYTES } from '../../tls/state/state-codec.js';
import { forgetSecrets, type TlsState } from '../../tls/state/tls-state.js';
import type { Tracked } from '../tracker.js';

/** The socket of a connection over TLS with which its service works; undefined before its handshake is over. */
export function securedSocket({
  socket,
  server,
}: {
  readonly socket: Tracked['socket'];
  readonly server: Server;
}): TLSSocket | undefined {
  if (!isTlsServer(server)) return undefined;
  return socket instanceof MovedTlsSocket ? socket : tlsSocketOf(socket);
}

/** Why a connection over TLS cannot move at all; undefined for one that can, or of which it is not known yet. */
export function whyTlsStays(tracked: Tracked): string | undefined {
  const socket = securedSocket(tracked);
  if (socket === undefined || socket instanceof MovedTlsSocket) return undefined;
  const cipher = movableCipher(socket);
  return typeof cipher === 'string' ? undefined : cipher.why;
}

/** Why TLS of a connection is not at rest: part of a record has come, or has not gone; undefined where it is, or is none that can be read. */
export function whyTlsIsBusy(socket: TLSSocket): string | undefined {
  if (socket instanceof MovedTlsSocket) return socket.isAtRest ? undefined : UNDER_WAY;
  const places = foundPlaces();
  if (places === undefined) return undefined;
  return isFlushed(socket) ? whyUnrest(socket, places) : NOT_SENT;
}

/** One that cannot leave in this turn, or ever. */
export interface StaysForNow {
  readonly why: string;
  readonly isForGood: boolean;
}

/** A connection on which nothing can be written here any more, and what it takes to do so elsewhere. */
export interface HeldTls {
  /** Secret; see {@link forget}. */
  readonly bytes: Buffer;
  /** Fills the state with zeros; it is of no use afterwards. */
  forget(): void;
  /** The connection may be written on here again; nobody else may have used its state. */
  release(): void;
}

const UNDER_WAY = 'TLS: a record was in transit';
const NOT_SENT = 'TLS: a record was not sent';

/** Captures a connection whose reads have stopped and on which nobody writes, or says why not; then it is as it was. */
export function holdTls(socket: TLSSocket): HeldTls | StaysForNow {
  const held = socket instanceof MovedTlsSocket ? holdMoved(socket) : holdNative(socket);
  if ('why' in held) return held;
  const { state, release } = held;
  const bytes = encodeTlsState(state);
  forgetSecrets(state);
  if (bytes !== undefined) return { bytes, forget: () => bytes.fill(0), release };
  release();
  return { why: `TLS: its state is larger than ${MAX_STATE_BYTES} bytes`, isForGood: true };
}

interface Captured {
  readonly state: TlsState;
  readonly release: () => void;
}

function holdMoved(socket: MovedTlsSocket): Captured | StaysForNow {
  const state = captureMoved(socket);
  if (state === undefined) return { why: UNDER_WAY, isForGood: false };
  const unblock = blockWrites(socket);
  return {
    state,
    release: () => {
      unblock();
      socket.release();
    },
  };
}

function holdNative(socket: TLSSocket): Captured | StaysForNow {
  const places = foundPlaces();
  if (places === undefined) return { why: 'TLS: its state cannot be read', isForGood: true };
  if (!isFlushed(socket)) return { why: NOT_SENT, isForGood: false };
  const unblock = blockWrites(socket);
  const captured = capture(socket, places);
  if ('state' in captured) return { state: captured.state, release: unblock };
  unblock();
  return captured;
}
