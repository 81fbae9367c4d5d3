import type { Message } from '../../protocol/messages.js';
import type { Sticky } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Slot } from './slot.js';
import type { Slots } from './slots.js';

type Home = Message<'homes'>['slots'][number];

/** Tells all generations to which slots clients belong, and where those are reached: of a service with sticky sessions. */
export class StickyRoutes {
  readonly #slots: Slots;
  readonly #asked: () => Sticky | null;
  /** Those that have served: clients of one that starts for the first time need not wait for it. */
  readonly #homes = new WeakSet<Slot>();
  readonly #told = new WeakMap<object, string>();
  #hasBegun = false;

  constructor(slots: Slots, sticky: () => Sticky | null) {
    this.#slots = slots;
    this.#asked = sticky;
  }

  get #sticky(): Sticky | null {
    return this.#asked();
  }

  /** Tells from now on. @param known slots that an earlier supervisor had. */
  begin(known: readonly Slot[]): void {
    for (const slot of known) this.#homes.add(slot);
    this.#hasBegun = true;
    this.tell();
  }

  /** A generation has come. One that was there before this supervisor may know of slots that are none any more. */
  greet(generation: GenerationProcess, wasThere: boolean): void {
    if (this.#sticky !== null) this.tell();
    else if (wasThere) this.#tellOne(generation, [], '');
  }

  /** Tells those who do not know yet what has changed. */
  tell(): void {
    if (!this.#hasBegun || this.#sticky === null) return;
    const slots = this.#now();
    for (const generation of this.#slots.generations()) this.#tellOne(generation, slots);
  }

  #now(): Home[] {
    return this.#slots.staying.flatMap((slot) => {
      const { current } = slot.generations;
      if (current !== undefined) this.#homes.add(slot);
      if (slot.index === undefined || !this.#homes.has(slot)) return [];
      return { slot: slot.index, door: current?.door ?? null };
    });
  }

  #tellOne(generation: GenerationProcess, slots: Home[], known = '[]'): void {
    const { lifeline } = generation;
    const own = this.#slots.of(generation.number)?.index;
    if (lifeline === undefined || lifeline.isClosed || own === undefined) return;
    const news = JSON.stringify(slots);
    if ((this.#told.get(lifeline) ?? known) === news) return;
    this.#told.set(lifeline, news);
    const by = this.#sticky?.cookie === undefined ? {} : { cookie: this.#sticky.cookie };
    lifeline.send({ type: 'homes', own, slots, ...by });
  }
}
