import type { Server, Socket } from 'node:net';
import { type TLSSocket, Server as TlsServer } from 'node:tls';

/*
 * A connection of a TLS server has two socket objects: the one that was accepted, and the one of TLS above it. Node
 * tells of the way down only: `_parent`. Source: node lib/internal/tls/wrap.js, TLSSocket.
 */

const aboveOf = new WeakMap<Socket, TLSSocket>();
const watched = new WeakSet<Server>();

/** Remembers from now on which TLS socket belongs to which accepted one; nothing for other servers. */
export function watchTlsSockets(server: Server): void {
  if (!(server instanceof TlsServer) || watched.has(server)) return;
  watched.add(server);
  server.on('secureConnection', (socket: TLSSocket) => {
    const below = socketBelow(socket);
    if (below !== socket) aboveOf.set(below, socket);
  });
}

/** The socket with which the service works, for one that was accepted. */
export function socketAbove(socket: Socket): Socket {
  return aboveOf.get(socket) ?? socket;
}

/** The socket that was accepted, for one with which the service works. */
export function socketBelow(socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket | null })._parent ?? socket;
}
