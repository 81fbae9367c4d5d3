import { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Server } from 'node:net';

/** How much longer a server waits for a head than it keeps a connection idle: it must not be less. */
const HEADERS_MORE_MS = 1000;

let fresh: { readonly keepAliveTimeout: number; readonly headersTimeout: number } | undefined;

/** What Node gives a server that is not told otherwise. */
function defaults() {
  fresh ??= new HttpServer();
  return fresh;
}

/** For how long a server keeps an idle connection, where that is what Node does unasked; undefined for another server. */
export function defaultKeepAliveMs(server: Server): number | undefined {
  if (!(server instanceof HttpServer || server instanceof HttpsServer)) return undefined;
  const { keepAliveTimeout } = defaults();
  return server.keepAliveTimeout === keepAliveTimeout ? keepAliveTimeout : undefined;
}

/** Has an HTTP server keep idle connections for so long, where it was not told for how long. */
export function keepAliveFor(server: Server, ms: number): void {
  if (defaultKeepAliveMs(server) === undefined) return;
  const http = server as HttpServer;
  http.keepAliveTimeout = ms;
  if (http.headersTimeout === defaults().headersTimeout)
    http.headersTimeout = Math.max(http.headersTimeout, ms + HEADERS_MORE_MS);
}
