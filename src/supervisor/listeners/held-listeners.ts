import {
  closeDescriptor,
  closeOnExec,
  keepOverExec,
  shutDownListener,
} from '../../os/descriptors/descriptor.js';
import { tryToRemove } from '../../os/files/remove.js';
import { type ListenerItem, MAX_LISTENERS } from '../../protocol/messages.js';
import type { HeldPaths } from './held-paths.js';

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

/** What several slots of a service need to accept on the same listeners. */
export interface Sharing {
  /** Whether the generation of this number lives. */
  isAlive(generation: number): boolean;
  /** One was opened that was not held before. */
  opened(item: ListenerItem, fd: number, by: number): void;
  /** One was closed for good. */
  closed(name: string): void;
}

/** How long one that no slot has any more may be claimed again before it is closed for good. */
const CLAIM_AGAIN_MS = 250;

/** The supervisor's copies of the service's listeners: while they are open no client is refused, whoever crashes. */
export class HeldListeners {
  #held = new Map<string, Held>();
  #undone = new Set<number>();
  /** The number of the generation that had one of this name first, also of those that are closed since. */
  readonly #firstHad = new Map<string, number>();
  readonly #store: ListenerStore | undefined;
  readonly #sharing: Sharing | undefined;
  /** Keeps the paths of those that have one. */
  readonly paths: HeldPaths | undefined;

  /**
   * @param store keeps copies of them too.
   * @param sharing where several slots accept on them: they are closed for good here, when no slot has them.
   * @param paths keeps the paths of those that have one.
   */
  constructor(store?: ListenerStore, sharing?: Sharing, paths?: HeldPaths) {
    this.#store = store;
    this.#sharing = sharing;
    this.paths = paths;
  }

  /** Whether a copy of one is kept. Files of several slots would share their names. */
  takes({ family }: ListenerItem): boolean {
    return this.#sharing === undefined || family !== 'file';
  }

  get size(): number {
    return this.#held.size;
  }

  /** Keeps one of a generation; a copy of the same name that was held before is closed. */
  hold(item: ListenerItem, fd: number, by: number): void {
    const before = this.#held.get(item.name);
    if (before !== undefined) closeDescriptor(before.fd);
    this.#held.set(item.name, { item, fd, by: new Set(before?.by).add(by) });
    if (this.#firstHad.size < MAX_LISTENERS && !this.#firstHad.has(item.name))
      this.#firstHad.set(item.name, by);
    this.paths?.hold(item, by);
    this.#store?.keep(item, fd);
    if (before === undefined) this.#sharing?.opened(item, fd, by);
    // It may have been on its way when the undo was told of.
    if (this.#undone.has(by)) this.undo(by);
  }

  /** Takes one over that no generation has told of yet. */
  inherit(item: ListenerItem, fd: number): void {
    // Whose it is the generations say themselves when they claim it, or come back.
    this.#held.set(item.name, { item, fd, by: new Set() });
    this.paths?.hold(item);
    this.#store?.keep(item, fd);
  }

  /** Whether a generation before this one has had one of this name. */
  hadBefore(name: string, generation: number): boolean {
    return (this.#firstHad.get(name) ?? generation) < generation;
  }

  /** It was no listener of the service's own. */
  forget(name: string): void {
    this.#firstHad.delete(name);
  }

  /** Our copy of the one of this name; it stays ours. */
  descriptorOf(name: string): number | undefined {
    return this.#held.get(name)?.fd;
  }

  /** The same as {@link inherit}; a copy of the same name that was held before is closed. */
  replace(item: ListenerItem, fd: number): void {
    const before = this.#held.get(item.name);
    this.inherit(item, fd);
    if (before !== undefined) closeDescriptor(before.fd);
  }

  /** A generation was undone: what it alone has had is closed for good, or clients would wait there for nobody. */
  undo(generation: number): void {
    this.#undone.add(generation);
    this.paths?.letGo(generation);
    for (const [name, { by }] of [...this.#held]) {
      if (by.delete(generation) && !this.#isHad(by)) this.closeForGood(name);
    }
  }

  /** A generation was confirmed to have a successor, which has told of all that it has itself. */
  handedOn(generation: number): void {
    this.paths?.letGo(generation);
    if (this.#sharing !== undefined) for (const { by } of this.#held.values()) by.delete(generation);
  }

  /**
   * A generation has closed one: our copy is closed too, when no other slot has it.
   * One that is lasting stays: a later generation may claim it.
   */
  release(name: string, generation: number): void {
    if (this.#sharing === undefined) {
      this.#letGoOf(name);
      return;
    }
    this.#held.get(name)?.by.delete(generation);
    setTimeout(() => {
      const held = this.#held.get(name);
      if (held !== undefined && !this.#isHad(held.by)) this.closeForGood(name);
    }, CLAIM_AGAIN_MS).unref();
  }

  /** Whether a generation has one that these have had. Without slots, those that have ended count: their successor is to come. */
  #isHad(by: ReadonlySet<number>): boolean {
    const { isAlive } = this.#sharing ?? { isAlive: () => true };
    return [...by].some((number) => isAlive(number));
  }

  #letGoOf(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    if (held.item.lasting) {
      this.#held.set(name, { ...held, item: { ...held.item, spare: true } });
      return;
    }
    this.#held.delete(name);
    closeDescriptor(held.fd);
    this.paths?.drop(name);
    this.#store?.drop(name);
  }

  /**
   * Closes for good those that are not among these names, for every process that holds a copy; one that another
   * slot has stays.
   * @returns the names of those that stay all the same, because they are lasting.
   */
  keepOnly(names: ReadonlySet<string>): string[] {
    const spare = this.names().filter((name) => !names.has(name) && !this.#isShared(name));
    for (const name of spare) this.closeForGood(name);
    return spare.filter((name) => this.#held.has(name));
  }

  #isShared(name: string): boolean {
    return this.#sharing !== undefined && this.#isHad(this.#held.get(name)?.by ?? new Set());
  }

  /** Closes our copies of all of them, and nobody else's. */
  letGo(): void {
    this.paths?.close();
    for (const { fd } of this.#held.values()) closeDescriptor(fd);
    this.#held.clear();
  }

  /** Closes one for every process that holds a copy, and removes its path. One that is lasting stays. */
  closeForGood(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    const { family, lasting } = held.item;
    if (lasting) {
      this.#letGoOf(name);
      return;
    }
    // A datagram socket closes with its last copy; shut down, nobody could answer on it any more.
    if (family === 'tcp' || family === 'unix') shutDownListener(held.fd);
    if (held.item.path !== null && this.paths === undefined) tryToRemove(held.item.path);
    this.#letGoOf(name);
    this.#sharing?.closed(name);
  }

  /** Their descriptions, and their descriptors in the same order. */
  describe(): { items: ListenerItem[]; descriptors: number[] } {
    const all = [...this.#held.values()];
    return { items: all.map(({ item }) => this.#asFound(item)), descriptors: all.map(({ fd }) => fd) };
  }

  // Whoever told of it last may have been undone, and its path be gone with it.
  #asFound(item: ListenerItem): ListenerItem {
    const path = this.paths?.pathOf(item.name);
    return path === undefined ? item : { ...item, path };
  }

  /** What the next program of this process needs to take them over. */
  kept(): KeptListener[] {
    return [...this.#held.values()].map(({ item, fd }) => {
      const { ticketKeys, sessionIdContext, ...open } = this.#asFound(item);
      return { item: open, fd };
    });
  }

  /** Keeps all of them over the next exec of this process. */
  keepOverExec(): KeptListener[] {
    for (const { fd } of this.#held.values()) keepOverExec(fd);
    return this.kept();
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

  /** The names of those that somebody has, or has had. */
  claimable(): string[] {
    return [...this.#held.values()].flatMap(({ item }) => (item.spare ? [] : [item.name]));
  }

  /** The names of the sockets that a generation has. */
  namesOf(generation: number): string[] {
    return [...this.#held.values()].flatMap(({ item, by }) =>
      by.has(generation) && !item.spare && item.family !== 'file' ? [item.name] : [],
    );
  }
}
