import type { Http2Session } from 'node:http2';
import type { Server } from 'node:net';

const sessionsOf = new WeakMap<Server, Set<Http2Session>>();
/** The highest stream number: a first GOAWAY that refuses nothing. Source: RFC 9113, section 6.8. */
const LAST_STREAM = 2 ** 31 - 1;
/** So long the second GOAWAY waits for a client that does not answer a ping. */
const PING_TIMEOUT_MS = 1000;

/** Remembers the sessions of an HTTP/2 server; nothing for other servers. */
export function trackHttp2Sessions(server: Server): void {
  if (!('updateSettings' in server) || sessionsOf.has(server)) return;
  const sessions = new Set<Http2Session>();
  sessionsOf.set(server, sessions);
  server.on('session', (session: Http2Session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
}

/**
 * Ends every session without losing a stream: a GOAWAY that announces the end, one round trip in which
 * requests that are on their way arrive, then the GOAWAY that names the last stream, and the end with it.
 */
export function endHttp2Sessions(server: Server): void {
  for (const session of sessionsOf.get(server) ?? []) {
    if (session.closed || session.destroyed) continue;
    session.goaway(0, LAST_STREAM);
    let isClosing = false;
    const close = () => {
      if (isClosing) return;
      isClosing = true;
      clearTimeout(timer);
      if (!session.destroyed) session.close();
    };
    const timer = setTimeout(close, PING_TIMEOUT_MS);
    if (!session.ping(close)) close();
  }
}
