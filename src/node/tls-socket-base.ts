import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { TLSSocket } from 'node:tls';
import { handleOf } from './handle.js';

/*
 * A socket that Node takes for one of TLS, and that has no TLS of Node's below it.
 */

/** What a TLSSocket of a server has beside what is documented, once its handshake is over. */
interface Insides {
  _tlsOptions: { isServer: true; server: unknown };
  _secureEstablished: boolean;
  _securePending: boolean;
  _controlReleased: boolean;
  _newSessionPending: boolean;
  secureConnecting: boolean;
}

/** What the constructor of `net.Socket` takes. */
export interface BaseOptions extends SocketConstructorOpts, ConnectOpts {
  /** Whether nothing is read before somebody asks. Source: node lib/net.js, Socket. */
  readonly manualStart: boolean;
}

function Base(this: unknown, options: BaseOptions): object {
  return Reflect.construct(Socket, [options], new.target ?? Socket) as object;
}
Object.setPrototypeOf(Base, TLSSocket);
Base.prototype = TLSSocket.prototype;

/**
 * The class of sockets that are `instanceof TLSSocket` and whose constructor is that of `net.Socket`: those who extend it
 * encrypt by themselves. Source: node lib/internal/tls/wrap.js, TLSSocket; the constructor wraps a handle in OpenSSL.
 */
export const UnwrappedTlsSocket = Base as unknown as new (options: BaseOptions) => TLSSocket;

/** Marks a socket as one whose handshake is over, and keeps HTTP from parsing what its handle reads, which is encrypted. */
export function markSecured(socket: TLSSocket, server: unknown): void {
  const insides: Insides = {
    _tlsOptions: { isServer: true, server },
    _secureEstablished: true,
    _securePending: false,
    _controlReleased: true,
    _newSessionPending: false,
    secureConnecting: false,
  };
  Object.assign(socket, insides);
  // Source: node lib/_http_server.js, connectionListenerInternal: a handle that somebody consumes is left alone.
  Object.assign(handleOf(socket) ?? {}, { _consumed: true });
}

/** Begins the time-out of a socket anew, as each write on its handle does. Source: node lib/internal/stream_base_commons.js. */
export function refreshTimeout(socket: TLSSocket): void {
  (socket as TLSSocket & { _unrefTimer?(): void })._unrefTimer?.();
}
