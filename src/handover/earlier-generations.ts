import type { Channel } from '../channel/channel.js';
import type { MoultError } from '../errors.js';
import { StateTaker } from '../state/state-taker.js';
import type { GenerationContext } from './generation-context.js';

/** How long one may take to answer: it lets in whoever comes at once, unless its service keeps it busy. */
const ANSWER_MS = 2000;

/**
 * Generations that still tell the predecessor of this one what their last requests change. This one comes to each of them as a
 * fallback: if the predecessor is gone, they tell it instead.
 */
export class EarlierGenerations {
  readonly #context: GenerationContext;
  readonly #predecessorGone: Promise<void>;
  readonly #failed: (error: MoultError) => void;
  readonly #ended: () => void;
  readonly #met = new Map<Channel, string>();
  #isAlone = false;
  #mayEnd = false;

  /**
   * @param predecessorGone when the predecessor is gone, and all that it has said is taken.
   * @param failed told of state that could not be taken. @param ended told when one of them is gone.
   */
  constructor(
    context: GenerationContext,
    predecessorGone: Promise<void>,
    failed: (error: MoultError) => void,
    ended: () => void,
  ) {
    this.#context = context;
    this.#predecessorGone = predecessorGone;
    this.#failed = failed;
    this.#ended = ended;
    predecessorGone.then(() => {
      this.#isAlone = true;
      // What they tell is all that this process may still wait for.
      if (!this.#mayEnd) for (const channel of this.#met.keys()) channel.ref();
    });
  }

  /** Where they let in whoever takes over from this generation. */
  get doors(): string[] {
    return [...this.#met.values()];
  }

  /** Whether they tell this generation. */
  get areTelling(): boolean {
    return this.#isAlone && this.#met.size > 0;
  }

  /** Comes to those at these doors. @returns when each knows this one, or is not there. */
  async meet(doors: readonly string[]): Promise<void> {
    const pieces = this.#context.state.wants();
    if (pieces.length === 0) return;
    await Promise.all(
      doors.map(async (door) => {
        const channel = await this.#context.fallbacks.open(door).catch(() => undefined);
        if (channel === undefined) return;
        this.#met.set(channel, door);
        const before = this.#predecessorGone;
        new StateTaker(channel, this.#context.state, this.#failed, undefined, before).takeAnySize();
        channel.closed.then(() => {
          this.#met.delete(channel);
          this.#ended();
        });
        channel.send({ type: 'state-want', pieces });
        await channel.next(['fallback'], ANSWER_MS).catch(() => channel.close());
        if (this.#isAlone && !this.#mayEnd) channel.ref();
      }),
    );
  }

  /** Lets the process end although they still tell it. */
  unref(): void {
    this.#mayEnd = true;
    for (const channel of this.#met.keys()) channel.unref();
  }

  /** The predecessor serves again: they tell that one. */
  leave(): void {
    for (const channel of this.#met.keys()) channel.close();
  }
}
