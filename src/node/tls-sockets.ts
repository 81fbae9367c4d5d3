import { Server as HttpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import { type TLSSocket, Server as TlsServer } from 'node:tls';

/*
 * A connection of a TLS server has two socket objects: the one that was accepted, and the one of TLS above it. Node
 * tells of the way down only: `_parent`. Source: node lib/internal/tls/wrap.js, TLSSocket. A connection that moved here
 * has one object only, which is both.
 */

const aboveOf = new WeakMap<Socket, TLSSocket>();
const watched = new WeakSet<Server>();
const lookers = new Set<(accepted: Socket) => void>();

/** Remembers from now on which TLS socket belongs to which accepted one; nothing for other servers. */
export function watchTlsSockets(server: Server): void {
  if (!isTlsServer(server) || watched.has(server)) return;
  watched.add(server);
  server.on('secureConnection', (socket: TLSSocket) => {
    const below = socketBelow(socket);
    if (below === socket) return;
    aboveOf.set(below, socket);
    for (const looker of lookers) looker(below);
  });
}

/** Is told of each accepted connection whose handshake is over. @returns ends that. */
export function onSecured(looker: (accepted: Socket) => void): () => void {
  lookers.add(looker);
  return () => lookers.delete(looker);
}

/** The socket with which the service works, for one that was accepted. */
export function socketAbove(socket: Socket): Socket {
  return aboveOf.get(socket) ?? socket;
}

/** The TLS socket of a connection that was accepted here; undefined before its handshake is over. */
export function tlsSocketOf(accepted: Socket): TLSSocket | undefined {
  return aboveOf.get(accepted);
}

/** The socket that was accepted, for one with which the service works. */
export function socketBelow(socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket | null })._parent ?? socket;
}

/** Whether connections of a server begin with a handshake of TLS, whatever they speak then. */
export function isTlsServer(server: Server): server is TlsServer {
  return server instanceof TlsServer;
}

/** Whether a server speaks HTTP/1.1 over TLS, and nothing else. */
export function isHttps(server: Server): server is HttpsServer {
  return server instanceof HttpsServer;
}
