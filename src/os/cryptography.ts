import { createRequire } from 'node:module';

/** Node's module of hashes and random bytes, loaded where it is first used: that takes a third of the time of a whole command. */
export function cryptography(): typeof import('node:crypto') {
  return createRequire(import.meta.url)('node:crypto') as typeof import('node:crypto');
}
