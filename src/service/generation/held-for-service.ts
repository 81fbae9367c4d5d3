import type { Line } from '../../channel/line.js';
import type { Successor } from '../../handover/successor.js';
import type { ListenerRegistry } from '../../listeners/registry.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import type { ListenerItem } from '../../protocol/messages.js';
import type { Readiness } from './readiness.js';
import { UnclaimedListeners } from './unclaimed-listeners.js';

/** What it takes to follow what is held for a generation. */
export interface HeldForServiceParts {
  readonly listeners: ListenerRegistry;
  readonly readyTimeoutMs: number;
  readonly hasPredecessor: boolean;
  readonly readiness: () => Readiness;
  readonly successor: () => Successor;
  readonly lifeline: () => Line;
}

/** The listeners that are held for this generation, and on which its service does not listen yet. */
export class HeldForService {
  readonly #parts: HeldForServiceParts;
  /** Those on which it said that it will listen late. */
  #promised: readonly string[] = [];
  /** What the predecessor has opened since, and keeps where it is not claimed before this one is ready. */
  readonly #offered: string[] = [];
  #late: UnclaimedListeners | undefined;

  constructor(parts: HeldForServiceParts) {
    this.#parts = parts;
  }

  /** Their names. */
  get names(): string[] {
    return [...this.#parts.listeners.inherited.unclaimed(), ...this.late];
  }

  /** The names of those that are held since this generation serves. */
  get late(): readonly string[] {
    return this.#late?.names ?? [];
  }

  /** Whether one is held since this generation serves, or was. */
  hasLate(name: string): boolean {
    return this.#late?.has(name) === true;
  }

  /** The predecessor has opened one. Where only that one has it it is its own affair, or this one's too; then its clients wait here. */
  add(item: ListenerItem, fd: number, waits: boolean): void {
    const { listeners, successor, readiness, readyTimeoutMs } = this.#parts;
    const { isReady, isCommitted } = successor();
    if (!waits) {
      if (isReady) closeDescriptor(fd);
      else this.#offered.push(item.name);
      if (!isReady) listeners.inherited.offer(item, fd);
      return;
    }
    listeners.inherited.addLate(item, fd);
    if (!isReady) readiness().alsoExpects(item.name);
    else if (!isCommitted) this.#promised = [...this.#promised, item.name];
    else this.#hold([...this.late, item.name], readyTimeoutMs);
  }

  /** The service is ready: what was offered, and it does not have, stays with who offered it. */
  declineOffers(): void {
    for (const name of this.#offered.splice(0)) this.#parts.listeners.inherited.declineOffer(name);
  }

  /** The service will listen on these late. */
  promise(names: readonly string[]): void {
    this.#promised = names;
  }

  /** This generation serves: what the service has not claimed is held while it may still come, or closed here. */
  committed(): void {
    this.#hold(this.#parts.listeners.dropUnclaimed(new Set(this.#promised)));
  }

  /** There is no way back to the predecessor. */
  confirm(): void {
    this.#late?.confirm();
  }

  /** Closes none: who serves now, or will, decides. */
  stop(): void {
    this.#late?.stop();
  }

  // What it said that it has, and closed again to listen anew, is held for it too.
  #hold(names: readonly string[], inMs = Math.max(0, this.#parts.readyTimeoutMs - performance.now())): void {
    if (names.length === 0) return;
    this.#late?.stop();
    const { listeners, hasPredecessor, successor, lifeline } = this.#parts;
    const isConfirmed = !hasPredecessor || successor().isConfirmed;
    this.#late = new UnclaimedListeners(listeners, names, inMs, isConfirmed, (name) =>
      lifeline().send({ type: 'release', name, late: true }),
    );
  }
}
