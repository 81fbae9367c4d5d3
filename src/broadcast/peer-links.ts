import type { Link } from './link.js';

/** The other generations that take part, and those that were asked to and have not answered yet. */
export class PeerLinks {
  readonly #links = new Set<Link>();
  #openings = 0;
  /** Of them, those to other slots. */
  #slotOpenings = 0;
  #areSlotsExpected = false;
  #hasJoinedSlot = false;

  get size(): number {
    return this.#links.size;
  }

  get all(): readonly Link[] {
    return [...this.#links];
  }

  /** Whether one was asked to take part, and has not answered yet. */
  get areOpening(): boolean {
    return this.#openings > 0;
  }

  /** Whether the other side of a handover was. */
  get isHandoverOpening(): boolean {
    return this.#openings > this.#slotOpenings;
  }

  /** Whether messages wait for one that is slow. */
  get areFull(): boolean {
    return this.all.some((link) => link.isFull);
  }

  /** There are other slots to join, or none. */
  expectSlots(are: boolean): void {
    this.#areSlotsExpected = are;
  }

  /** Whether none of the other slots has been joined yet. */
  get awaitSlots(): boolean {
    return this.#areSlotsExpected && !this.#hasJoinedSlot;
  }

  /** The one at the other end of a channel. */
  over(channel: object): Link | undefined {
    return this.all.find((link) => link.isOver(channel));
  }

  add(link: Link): void {
    if (link.isSlot) this.#hasJoinedSlot = true;
    this.#links.add(link);
  }

  remove(link: Link): void {
    this.#links.delete(link);
  }

  /**
   * One is asked to take part.
   * @param isSlot whether it is the generation of another slot.
   * @returns says that it has answered, or cannot any more, and whether that was not known before.
   */
  opens(isSlot: boolean): () => boolean {
    const slots = isSlot ? 1 : 0;
    this.#openings += 1;
    this.#slotOpenings += slots;
    let isOpening = true;
    return () => {
      if (!isOpening) return false;
      isOpening = false;
      this.#openings -= 1;
      this.#slotOpenings -= slots;
      return true;
    };
  }
}
