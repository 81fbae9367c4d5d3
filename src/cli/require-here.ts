const { createRequire } = process.getBuiltinModule?.('node:module') ?? (await import('node:module'));

/**
 * Loads a CommonJS file of this folder. Without an import of Node's modules: an ES module that imports `node:fs` has Node load all that
 * the module could offer, streams and promises too, which takes longer than the rest of a command.
 * Source: node lib/internal/bootstrap/realm.js, getESMFacade; process.getBuiltinModule since 20.16 and 22.3.
 */
export function requireHere<T>(file: string): T {
  return createRequire(import.meta.url)(file) as T;
}
