import { isOfTree } from '../../os/processes/proc-tree.js';
import type { Expectations } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Slot } from './slot.js';

/** The slots of a service: one, or several that share its listeners. */
export class Slots {
  readonly #make: (index: number | undefined) => Slot;
  /** What those that have come to their end had counted. */
  readonly gone = { restarts: 0, crashes: 0 };
  #all: Slot[] = [];

  constructor(make: (index: number | undefined) => Slot) {
    this.#make = make;
  }

  /** All of them, in order, with those that are about to end. */
  get all(): readonly Slot[] {
    return this.#all;
  }

  /** Those that are to stay. */
  get staying(): readonly Slot[] {
    return this.#all.filter((slot) => !slot.isLeaving);
  }

  /** The generations of all slots that live, in the order of slots. */
  generations(): GenerationProcess[] {
    return this.#all.flatMap(({ generations }) => generations.all());
  }

  /** The slot with the generation of this number, while that lives. */
  of(generation: number): Slot | undefined {
    return this.#all.find(({ generations }) => generations.numbered(generation) !== undefined);
  }

  /** The generation to whose processes this one belongs, and its slot. */
  placeOf(pid: number): { readonly slot: Slot; readonly generation: GenerationProcess } | undefined {
    for (const slot of this.#all) {
      const generation = slot.generations.own().find((one) => isOfTree(pid, one.pid) === true);
      if (generation !== undefined) return { slot, generation };
    }
    return undefined;
  }

  /** The one with this index, which is made where there is none. */
  at(index: number | undefined): Slot {
    const known = this.#all.find((slot) => slot.index === index);
    if (known !== undefined) return known;
    const slot = this.#make(index);
    this.#all = [...this.#all, slot].sort((a, b) => (a.index ?? 0) - (b.index ?? 0));
    return slot;
  }

  /** Forgets one that has come to its end. */
  remove(slot: Slot): void {
    this.#all = this.#all.filter((one) => one !== slot);
    this.gone.restarts += slot.restarts.succeeded;
    this.gone.crashes += slot.servingState.exits.crashes;
  }

  /**
   * Makes one that begins where another one stands, with the same release.
   * @returns its first generation.
   */
  startLike(model: Slot, index: number, expectations: Expectations = {}): GenerationProcess {
    const slot = this.at(index);
    const release = model.releases.lastGood() ?? model.generations.current?.release;
    if (release === undefined) throw new Error('the slot to begin like has no release');
    slot.releases.proved(release);
    if (model.generations.sayReady) slot.generations.saidReady();
    return slot.begin(release, slot.generations.settings(true, expectations));
  }
}
