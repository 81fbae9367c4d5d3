import type { Http2Session, Http2Stream } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { bySymbol, handleOf, type StreamHandle } from '../handle.js';

/*
 * What moult knows of Node's HTTP/2 sessions beyond their documentation.
 */

/**
 * GOAWAY with the highest stream number there is, and no error: no new streams, please, and none is refused. nghttp2
 * can say so (nghttp2_submit_shutdown_notice), but Node does not let it: `session.goaway(0, 2 ** 31 - 1)` sends the
 * same bytes, and has nghttp2 ignore from then on whatever stream it has not seen, also those on their way.
 * Source: RFC 9113, sections 4.1 and 6.8; nghttp2 lib/nghttp2_session.c, session_allow_incoming_new_stream.
 */
const SHUTDOWN_NOTICE = Buffer.from('000008070000000000' + '7fffffff00000000', 'hex');

/** Whether a server speaks HTTP/2. */
export function isHttp2(server: Server): boolean {
  return 'updateSettings' in server;
}

/** The handle on which a session sends, while it has one. */
export function handleOfSession(session: Http2Session): StreamHandle | undefined {
  try {
    return handleOf(session.socket as Socket);
  } catch {
    return undefined;
  }
}

/** The handle of the connection that was accepted for a session: below TLS, where there is that. */
export function handleBelow(session: Http2Session): StreamHandle | undefined {
  const handle = handleOfSession(session) as (StreamHandle & { _parent?: StreamHandle }) | undefined;
  return handle?._parent ?? handle;
}

/**
 * Announces the end of a session without TLS. Node writes whole frames to the handle, in the order in which they come,
 * so what another writes to it stands between two frames. With TLS it cannot be done: a TLS handle takes one write at
 * a time, the session would know nothing of this one, and Node aborts the process when two meet.
 * Source: node src/node_http2.cc, SendPendingData; src/crypto/crypto_tls.cc, TLSWrap::DoWrite.
 * @param socket below the session.
 * @returns whether it was sent.
 */
export function announceEnd(session: Http2Session, socket: Socket): boolean {
  const isBelow = handleOf(socket) !== undefined && handleOf(socket) === handleOfSession(session);
  if (!isBelow || session.encrypted || socket.destroyed || socket.writableEnded) return false;
  socket.write(SHUTDOWN_NOTICE);
  return true;
}

/** The streams of a session that are open. Source: node lib/internal/http2/core.js, kState. */
export function openStreams(session: Http2Session): Http2Stream[] {
  const state = bySymbol(session, 'state') as { streams?: Map<number, Http2Stream> } | undefined;
  return [...(state?.streams?.values() ?? [])];
}
