/** What becomes of a call that would remove the path of a listener, or change who may connect there. */
export type PathDecision = 'do' | 'skip';

/**
 * Asked before such a call, which comes from the service.
 * @param file what names the file of the socket.
 * @param call what was asked for, to be done later, where that is right.
 */
export type Decide = (kind: 'remove' | 'change', file: string, call: () => void) => PathDecision;

/** As in service/preload/path-hooks.cts, which is loaded before anything of moult's. */
const DECIDE = Symbol.for('moult.paths.1');

/** Has calls of the service's decided of from now on. */
export function decidePaths(decide: Decide): void {
  Object.defineProperty(globalThis, DECIDE, { value: decide, configurable: true });
}
