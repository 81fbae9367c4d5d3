import { BroadcastHub } from './broadcast-hub.js';

/*
 * The hub of this process. A service imports moult from its own folder, and the supervisor's moult is loaded into the
 * same process: two copies of this module may meet. So there is one on globalThis under a symbol that all copies know,
 * and what it has is part of the symbol's name.
 */
const KEY = Symbol.for('moult.broadcast.1');

/** The hub of this process; made when it is first asked for. */
export function broadcastHub(): BroadcastHub {
  const shared = globalThis as { [KEY]?: BroadcastHub };
  shared[KEY] ??= new BroadcastHub();
  return shared[KEY];
}

/** The hub of this process, where something has asked for it. */
export function knownHub(): BroadcastHub | undefined {
  return (globalThis as { [KEY]?: BroadcastHub })[KEY];
}
