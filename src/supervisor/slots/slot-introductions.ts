import type { GenerationProcess } from '../process/generation-process.js';
import type { Slots } from './slots.js';

/** Tells the generations that serve in different slots of each other, so that they share their broadcasts. */
export class SlotIntroductions {
  readonly #slots: Slots;
  readonly #told = new WeakMap<object, string>();

  constructor(slots: Slots) {
    this.#slots = slots;
  }

  /** Tells those who do not know yet what has changed. */
  tell(): void {
    const serving = this.#slots.all.flatMap(({ generations: { current } }) => current ?? []);
    if (serving.length < 2) return;
    for (const one of serving) this.#tellOne(one, serving);
  }

  #tellOne(generation: GenerationProcess, serving: readonly GenerationProcess[]): void {
    const { lifeline } = generation;
    if (lifeline === undefined || lifeline.isClosed || !generation.sharesBroadcasts) return;
    const peers = serving.flatMap(({ number, door, sharesBroadcasts }) =>
      number === generation.number || door === undefined || !sharesBroadcasts
        ? []
        : [{ generation: number, door }],
    );
    const news = JSON.stringify(peers);
    if (this.#told.get(lifeline) === news) return;
    this.#told.set(lifeline, news);
    lifeline.send({ type: 'peers', peers });
  }
}
