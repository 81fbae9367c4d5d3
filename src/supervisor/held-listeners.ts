import { unlinkSync } from 'node:fs';
import { closeDescriptor, closeOnExec, keepOverExec, shutDownListener } from '../os/descriptor.js';
import type { ListenerItem } from '../protocol/messages.js';

/** A listener that survives an exec; without its secrets. */
export interface KeptListener {
  readonly item: ListenerItem;
  readonly fd: number;
}

interface Held {
  readonly item: ListenerItem;
  readonly fd: number;
  /** The numbers of the generations that have had it. */
  readonly by: Set<number>;
}

/** Where copies of listeners outlive this process. */
export interface ListenerStore {
  /** Keeps a copy; where it has this very socket under this name, nothing changes. */
  keep(item: ListenerItem, fd: number): void;
  /** Lets go of the copy of this name. */
  drop(name: string): void;
}

/** The supervisor's copies of the service's listeners: while they are open no client is refused, whoever crashes. */
export class HeldListeners {
  #held = new Map<string, Held>();
  #undone = new Set<number>();
  readonly #store: ListenerStore | undefined;

  /** @param store keeps copies of them too. */
  constructor(store?: ListenerStore) {
    this.#store = store;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Keeps one of a generation; a copy of the same name that was held before is closed. */
  hold(item: ListenerItem, fd: number, by: number): void {
    const before = this.#held.get(item.name);
    if (before !== undefined) closeDescriptor(before.fd);
    this.#held.set(item.name, { item, fd, by: new Set(before?.by).add(by) });
    this.#store?.keep(item, fd);
    // It may have been on its way when the undo was told of.
    if (this.#undone.has(by)) this.undo(by);
  }

  /** Takes one over that no generation has told of yet. */
  inherit(item: ListenerItem, fd: number): void {
    // Whose it is the generations say themselves when they claim it, or come back.
    this.#held.set(item.name, { item, fd, by: new Set() });
    this.#store?.keep(item, fd);
  }

  /** A generation was undone: what it alone has had is closed for good, or clients would wait there for nobody. */
  undo(generation: number): void {
    this.#undone.add(generation);
    for (const [name, { by }] of [...this.#held]) {
      if (by.delete(generation) && by.size === 0) this.closeForGood(name);
    }
  }

  /** Closes our copy of one that the service has closed. One that is lasting stays: a later generation may claim it. */
  release(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    if (held.item.lasting) {
      this.#held.set(name, { ...held, item: { ...held.item, spare: true } });
      return;
    }
    this.#held.delete(name);
    closeDescriptor(held.fd);
    this.#store?.drop(name);
  }

  /**
   * Closes for good those that are not among these names, for every process that holds a copy.
   * @returns the names of those that stay all the same, because they are lasting.
   */
  keepOnly(names: ReadonlySet<string>): string[] {
    const spare = this.names().filter((name) => !names.has(name));
    for (const name of spare) this.closeForGood(name);
    return spare.filter((name) => this.#held.has(name));
  }

  /** Closes our copies of all of them, and nobody else's. */
  letGo(): void {
    for (const { fd } of this.#held.values()) closeDescriptor(fd);
    this.#held.clear();
  }

  /** Closes one for every process that holds a copy, and removes its path. One that is lasting stays. */
  closeForGood(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    const { family, lasting } = held.item;
    if (lasting) {
      this.release(name);
      return;
    }
    // A datagram socket closes with its last copy; shut down, nobody could answer on it any more.
    if (family === 'tcp' || family === 'unix') shutDownListener(held.fd);
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

  /** Keeps all of them over the next exec of this process. @returns what the next program needs to take them over. */
  keepOverExec(): KeptListener[] {
    return [...this.#held.values()].map(({ item, fd }) => {
      keepOverExec(fd);
      const { ticketKeys, sessionIdContext, ...open } = item;
      return { item: open, fd };
    });
  }

  /** Takes over what the program before an exec kept. */
  takeOver(kept: readonly KeptListener[]): void {
    for (const { item, fd } of kept) {
      closeOnExec(fd);
      this.inherit(item, fd);
    }
  }

  names(): string[] {
    return [...this.#held.keys()];
  }
}
