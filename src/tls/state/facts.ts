import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import type { TlsFacts } from './tls-state.js';

/** What a socket of a TLS server answers about its connection. */
export function factsOf(socket: TLSSocket): TlsFacts {
  const { servername, alpnProtocol, authorizationError } = socket as TLSSocket & {
    servername?: string | false;
  };
  return {
    servername: servername ?? false,
    alpnProtocol: alpnProtocol ?? false,
    authorized: socket.authorized,
    authorizationError: authorizationError ? String(authorizationError) : null,
    peerCertificates: peerCertificatesOf(socket),
    certificate: socket.getX509Certificate()?.raw,
    session: socket.getSession(),
    isSessionReused: socket.isSessionReused(),
    finished: socket.getFinished(),
    peerFinished: socket.getPeerFinished(),
    ephemeralKeyInfo: socket.getEphemeralKeyInfo(),
    sharedSigalgs: socket.getSharedSigalgs(),
  };
}

// Each has the one above it; the last has itself, or none. Source: Node's documentation of getPeerCertificate.
function peerCertificatesOf(socket: TLSSocket): Buffer[] {
  if (socket.getPeerX509Certificate() === undefined) return [];
  const found = new Set<DetailedPeerCertificate>();
  let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (at?.raw !== undefined && !found.has(at)) {
    found.add(at);
    at = at.issuerCertificate;
  }
  return [...found].map(({ raw }) => raw);
}
