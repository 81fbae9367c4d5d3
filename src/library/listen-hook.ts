import { Server } from 'node:net';
import type { Listen2 } from '../node/listen-hook.js';

/** Has every `listen()` of this process decided by a function; where Node has no such step any more, nothing is changed. */
export function installListenHook(
  decide: (server: Server, original: Listen2, args: Parameters<Listen2>) => void,
): void {
  const prototype = Server.prototype as unknown as { _listen2?: Listen2 };
  const original = prototype._listen2;
  if (typeof original !== 'function') return;
  prototype._listen2 = function (this: Server, ...args: Parameters<Listen2>) {
    decide(this, original, args);
  };
}
