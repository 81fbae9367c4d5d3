import type { Successor } from '../../handover/successor.js';
import type { ListenerRegistry } from '../../listeners/registry.js';
import type { Readiness } from './readiness.js';

/** What tells whether a process only passes by. */
export interface PassingByParts {
  readonly listeners: () => ListenerRegistry;
  readonly readiness: () => Readiness;
  readonly successor: () => Successor;
}

/**
 * A process that listens for a moment, closes that and ends with success before it was ready, such as a script that looks
 * whether the port is free before npm or a shell starts the service: the service is one that comes after it.
 */
export class PassingBy {
  readonly #parts: PassingByParts;
  #hasClosed = false;
  #isUnreferenced = false;

  constructor(parts: PassingByParts) {
    this.#parts = parts;
  }

  /** The service has closed what it had opened: nothing of moult's own keeps this process alive, as without moult. */
  closed(): void {
    if (!this.#mayPass) return;
    const { listeners, successor } = this.#parts;
    if (!this.#hasClosed) process.once('exit', (code) => this.#ends(code));
    this.#hasClosed = true;
    if (listeners().initialState !== 'gated') return;
    this.#isUnreferenced = true;
    successor().unref();
  }

  /** It has opened one: the wait for the commit keeps this process alive. */
  opened(): void {
    if (!this.#isUnreferenced) return;
    this.#isUnreferenced = false;
    this.#parts.successor().ref();
  }

  get #mayPass(): boolean {
    const { listeners, readiness, successor } = this.#parts;
    const { isReady, isCommitted } = successor();
    return !isReady && !isCommitted && !readiness().isOfLibrary && listeners().own().length === 0;
  }

  #ends(code: number): void {
    if (code === 0 && this.#mayPass) this.#parts.successor().passBy();
  }
}
