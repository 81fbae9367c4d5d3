import { unlinkSync } from 'node:fs';
import { closeDescriptor, shutDownListener } from '../os/descriptor.js';
import type { ListenerItem } from '../protocol/messages.js';

interface Held {
  readonly item: ListenerItem;
  readonly fd: number;
}

/** The supervisor's copies of the service's listeners: while they are open no client is refused, whoever crashes. */
export class HeldListeners {
  #held = new Map<string, Held>();

  get size(): number {
    return this.#held.size;
  }

  /** Keeps one; a copy of the same name that was held before is closed. */
  hold(item: ListenerItem, fd: number): void {
    const before = this.#held.get(item.name);
    if (before !== undefined) closeDescriptor(before.fd);
    this.#held.set(item.name, { item, fd });
  }

  /** Closes our copy of one that the service has closed. */
  release(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    closeDescriptor(held.fd);
  }

  /** Closes for good those that are not among these names, for every process that holds a copy. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const name of [...this.#held.keys()]) if (!names.has(name)) this.closeForGood(name);
  }

  /** Closes one for every process that holds a copy, and removes its path. */
  closeForGood(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    shutDownListener(held.fd);
    if (held.item.path !== null) {
      try {
        unlinkSync(held.item.path);
      } catch {
        // The service has removed it.
      }
    }
    this.release(name);
  }

  /** Their descriptions, and their descriptors in the same order. */
  describe(): { items: ListenerItem[]; descriptors: number[] } {
    const all = [...this.#held.values()];
    return { items: all.map(({ item }) => item), descriptors: all.map(({ fd }) => fd) };
  }

  names(): string[] {
    return [...this.#held.keys()];
  }
}
