import type { JournalFact } from '../../lifecycle/journal-entry.js';
import { isOfTree } from '../../os/processes/proc-tree.js';
import type { Expectations } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Release } from '../releases/release.js';
import type { Slot } from './slot.js';

/** The slots of a service: one, or several that share its listeners. */
export class Slots {
  #make: (index: number | undefined) => Slot = () => {
    throw new Error('nothing makes slots yet');
  };
  /** What those that have come to their end had counted. */
  readonly gone = { restarts: 0, crashes: 0 };
  #all: Slot[] = [];

  /** How they are made from now on. */
  madeBy(make: (index: number | undefined) => Slot): void {
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

  /** A generation, and those that may accept in its place: slots share their listeners. */
  acceptorsBeside(generation: GenerationProcess): GenerationProcess[] {
    const others = this.#all.filter(({ generations }) => !generations.all().includes(generation));
    // One that was left by an earlier supervisor may not have come back yet.
    const accepting = others.flatMap(({ generations }) =>
      generations.all().filter((one) => one === generations.current || (one.isAdopted && !one.isReachable)),
    );
    return [generation, ...accepting];
  }

  /** The releases that run, and those to which a crash or a rollback may come back. */
  neededReleases(): Release[] {
    return this.#all.flatMap(({ generations, releases }) => [
      ...generations.all().flatMap(({ exit, release }) => (exit === undefined ? release : [])),
      ...[releases.lastGood(), releases.before()].flatMap((release) => release ?? []),
    ]);
  }

  /** What a journal must tell of the generations that live. */
  facts(): JournalFact[] {
    return this.#all.flatMap(({ index, generations }) =>
      generations.facts().map((fact) => (index === undefined ? fact : { slot: index, ...fact })),
    );
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
   * Makes one that begins where another one stands.
   * @param release by default that of the other one. Where it has not proved itself there, or its files have changed, it has to do so here.
   * @returns its first generation.
   */
  startLike(
    model: Slot,
    index: number,
    { release = releaseOf(model), ...expectations }: Expectations & { readonly release?: Release } = {},
  ): GenerationProcess {
    const slot = this.at(index);
    slot.releases.proved(model.releases.lastGood() ?? release);
    if (model.generations.sayReady) slot.generations.saidReady();
    const generation = slot.begin(release, slot.generations.settings(true, expectations));
    slot.startedFiles.look(generation, release);
    return generation;
  }
}

/** With which release another slot begins like this one. */
export function releaseOf({ releases, generations }: Slot): Release {
  // In its probation what serves is another one than the last good one: slots would be of two releases once it is over.
  const release = generations.current?.release ?? releases.lastGood();
  if (release === undefined) throw new Error('the slot to begin like has no release');
  return release;
}
