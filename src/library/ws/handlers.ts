import { EventEmitter } from 'node:events';
import type { WebSocket } from 'ws';

type Listener = (this: WebSocket, ...args: unknown[]) => unknown;

/**
 * Sees what the service's handlers of 'message' return: a promise is an answer that is still being computed.
 * @param begin is called for each promise; what it returns, when that has settled.
 * @param handled is called after each message.
 */
export function watchMessages(ws: WebSocket, begin: () => () => void, handled: () => void): void {
  const own = ws.emit;
  ws.emit = function (this: WebSocket, name: string | symbol, ...args: unknown[]): boolean {
    if (name !== 'message' || catchesRejections(ws)) return own.call(this, name, ...args);
    // As emit does: those that are there now, in order, and the first that throws ends it.
    const listeners = this.rawListeners('message') as Listener[];
    for (const listener of listeners) {
      const result = Reflect.apply(listener, this, args);
      // A rejection stays unhandled, and is reported as the service is used to.
      if (result instanceof Promise) void result.finally(begin());
    }
    handled();
    return listeners.length > 0;
  } as WebSocket['emit'];
}

/** Whether an emitter itself looks after the promises that handlers return: it must get them. */
export function catchesRejections(emitter: object): boolean {
  if (EventEmitter.captureRejections) return true;
  return 'domain' in emitter && emitter.domain != null;
}
