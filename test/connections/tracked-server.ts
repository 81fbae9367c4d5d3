import assert from 'node:assert/strict';
import type { Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ConnectionTracker } from '#moult/connections/tracker.js';
import { tlsSocketOf } from '#moult/node/tls-sockets.js';
import { eventOf } from '../support/events.js';
import type { Later } from '../support/tidy.js';

/** A server whose connections are tracked. */
export interface TrackedServer<S extends Server = Server> {
  readonly server: S;
  readonly tracker: ConnectionTracker;
}

/** The suites of TLS 1.3 whose connections move. */
export const CIPHERS = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

/** Has a server listen, on a port of its own or at this path, and tracks its connections; both end with the test. */
export async function trackedServer<S extends Server>(
  later: Later,
  server: S,
  path: string | undefined = undefined,
): Promise<TrackedServer<S>> {
  server.setMaxListeners(0);
  const tracker = new ConnectionTracker((one) => one === server);
  tracker.start();
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  later(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const { socket } of tracker.all()) socket.destroy();
      }),
  );
  await eventOf(server, 'listening');
  return { server, tracker };
}

/** The TLS socket of the only connection of a server. */
export function onlyTlsSocket({ tracker }: TrackedServer): TLSSocket {
  const [only] = tracker.all();
  assert.ok(only !== undefined && tracker.size === 1);
  return tlsSocketOf(only.socket) ?? (only.socket as TLSSocket);
}
