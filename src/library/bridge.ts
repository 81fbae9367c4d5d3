import { createRequire } from 'node:module';
import type { Hooks } from '../node/listening/listen-hook.js';
import type * as Entry from '../service/service-entry.js';

type Bundle = typeof import('../standalone/service-bundle.js');

/** Where the preload of `moult run` says how its own copy of the package is reached; a service may import another copy. */
const BRIDGE = Symbol.for('moult.entry.1');

/** What moult has in this process, and the environment with which it was started. */
export interface Bridge {
  readonly entry: typeof Entry;
  readonly env: NodeJS.ProcessEnv;
  /** Whether `listen()` reaches moult already. */
  readonly isHooked: boolean;
}

/** Loads the part of moult that lives in services: the copy that started this process, else the one beside this file. */
export function bridge(): Bridge {
  const preloaded = (globalThis as Record<symbol, (() => Omit<Bridge, 'isHooked'>) | undefined>)[BRIDGE];
  if (preloaded !== undefined) return { ...preloaded(), isHooked: true };
  return { entry: bundle().entry, env: process.env, isHooked: false };
}

/** Loads what a service without a supervisor needs. */
export function alone(): Pick<Bundle, 'beginAlone'> {
  return bundle();
}

/** Loads what makes `listen()` and `bind()` reach moult. */
export function hooks(): Hooks {
  return require('#moult/service/preload/hooks.cjs') as Hooks;
}

/** Has the primary of node:cluster accept for its workers, as under `moult run`. */
export function acceptInPrimary(): void {
  const { acceptInPrimary: accept } = require('#moult/service/preload/cluster.cjs') as {
    acceptInPrimary(): void;
  };
  accept();
}

const require = createRequire(import.meta.url);

// Only when it is needed: it reaches into Node and libc, which other systems do not have.
function bundle(): Bundle {
  return require('#moult/standalone/service-bundle.cjs') as Bundle;
}
