import { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Server } from 'node:net';
import { isHttp2 } from './http2.js';

/** The events by which a server gives its service what clients want. */
const HTTP1 = ['request', 'upgrade', 'connect', 'checkContinue'];
const HTTP2 = ['request', 'stream'];

/**
 * Whether a service handles the connections of a server now: without a handler Node accepts them, and nobody answers.
 * One with an `emit` of its own handles them in its own way.
 */
export function isHandled(server: Server): boolean {
  if (Object.hasOwn(server, 'emit')) return true;
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

function handlingEvents(server: Server): readonly string[] {
  if (isHttp2(server)) return HTTP2;
  return server instanceof HttpServer || server instanceof HttpsServer ? HTTP1 : ['connection'];
}
