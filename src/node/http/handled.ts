import { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { Server as NetServer, type Server } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { isHttp2 } from './http2.js';

/** The events by which a server gives its service what clients want. */
const HTTP1 = ['request', 'upgrade', 'connect', 'checkContinue'];
const HTTP2 = ['request', 'stream'];
const ofNode = new Set<object>([
  HttpServer.prototype,
  HttpsServer.prototype,
  TlsServer.prototype,
  NetServer.prototype,
]);

/**
 * Whether a service handles the connections of a server now: without a handler Node accepts them, and nobody answers.
 * One with an `emit` of its own, or of a class of its own, handles them in its own way.
 */
export function isHandled(server: Server): boolean {
  if (hasOwnEmit(server)) return true;
  return handlingEvents(server).some((name) => server.listenerCount(name) > 0);
}

/** Calls back in the turn after a server that is not handled has come to be. */
export function onceHandled(server: Server, then: () => void): void {
  const events = handlingEvents(server);
  const added = (name: string | symbol) => {
    if (typeof name !== 'string' || !events.includes(name)) return;
    server.off('newListener', added);
    setImmediate(then);
  };
  server.on('newListener', added);
}

// Of Node's own classes it is one that something for telemetry has wrapped.
function hasOwnEmit(server: Server): boolean {
  let at: object = server;
  while (!ofNode.has(at)) {
    if (Object.hasOwn(at, 'emit')) return true;
    const next: unknown = Object.getPrototypeOf(at);
    if (typeof next !== 'object' || next === null) return false;
    at = next;
  }
  return false;
}

function handlingEvents(server: Server): readonly string[] {
  if (isHttp2(server)) return HTTP2;
  return server instanceof HttpServer || server instanceof HttpsServer ? HTTP1 : ['connection'];
}
