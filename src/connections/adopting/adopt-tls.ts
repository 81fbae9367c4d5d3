import type { Server as HttpServer } from 'node:http';
import { countAmong, giveSecuredToServer } from '../../node/http/http1.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import { adoptTls } from '../../tls/socket/moved-socket.js';
import { decodeTlsState } from '../../tls/state/state-codec.js';
import { forgetSecrets } from '../../tls/state/tls-state.js';
import type { ConnectionTracker } from '../tracker.js';
import { waitForRequest } from './adopt-http1.js';

/**
 * Takes over a TLS 1.3 connection of an HTTP/1.1 server that is at rest. Called only when nobody else can write on it any
 * more. As one without TLS its server sees it at its first byte.
 * @param fd the connection's descriptor; it belongs to the socket once this returns.
 * @param bytes its state; filled with zeros.
 * @throws MOULT_RESTORE_FAILED for a state that cannot be gone on with.
 */
export function adoptTlsHttp1(
  fd: number,
  server: HttpServer,
  item: ConnectionItem,
  bytes: Buffer,
  tracker: ConnectionTracker,
): void {
  try {
    const state = decodeTlsState(bytes);
    const socket = adoptTls(fd, state, { server });
    countAmong(socket, server);
    forgetSecrets(state);
    waitForRequest(socket, server, item, tracker, (chunk) => giveSecuredToServer(server, socket, chunk));
    socket.begin();
  } finally {
    bytes.fill(0);
  }
}
