import type { GenerationProcess } from '../process/generation-process.js';
import type { Slots } from './slots.js';

/** How often the slots are looked at. What is uneven at two looks in a row is evened out. */
const LOOK_MS = 500;
const STATE_TIMEOUT_MS = 1000;
/** How long a generation may take to give what it was asked for. */
const GIVE_TIMEOUT_MS = 5000;
/** How long one that could give nothing is left alone: what it has cannot move. */
const REST_MS = 30_000;
/** By what part of the mean, and one more, a slot may lie above or below it. */
const TOLERANCE = 0.1;

/** How many connections are to go from one slot to another, both by their place in the list. */
export interface Move {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** Which moves would even these numbers of connections out; none where they are even enough. Pure. */
export function movesToEven(counts: readonly number[]): Move[] {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  if (counts.every((count) => Math.abs(count - mean) <= mean * TOLERANCE + 1)) return [];
  const over = counts.map((count) => Math.max(0, count - Math.ceil(mean)));
  const under = counts.map((count) => Math.max(0, Math.floor(mean) - count));
  const moves: Move[] = [];
  over.forEach((surplus, from) => {
    under.forEach((room, to) => {
      const count = Math.min(surplus, room);
      if (count === 0) return;
      surplus -= count;
      under[to] = room - count;
      moves.push({ from, to, count });
    });
  });
  return moves;
}

/** Keeps the numbers of connections of the slots near each other: some move from the one that has more. */
export class Rebalancer {
  readonly #slots: Slots;
  readonly #isAwaited: () => boolean;
  readonly #restUntilMs = new WeakMap<GenerationProcess, number>();
  #timer: NodeJS.Timeout | undefined;
  #wasUneven = false;

  /** @param isAwaited whether the slots are just being replaced, or end. */
  constructor(slots: Slots, isAwaited: () => boolean) {
    this.#slots = slots;
    this.#isAwaited = isAwaited;
  }

  /** Looks from now on, without keeping the process alive. */
  start(): void {
    const look = async () => {
      await this.#look().catch(() => {});
      if (this.#timer !== undefined) this.#timer = setTimeout(look, LOOK_MS).unref();
    };
    this.#timer ??= setTimeout(look, LOOK_MS).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    if (this.#isAwaited()) return;
    const serving = this.#slots.staying.flatMap(({ generations }) => generations.current ?? []);
    if (serving.length < 2) return;
    const states = await Promise.all(
      serving.map((one) => one.state(STATE_TIMEOUT_MS).catch(() => undefined)),
    );
    const known = serving.flatMap((one, i) => {
      const connections = states[i]?.connections;
      return connections === undefined ? [] : [{ one, connections }];
    });
    const moves = movesToEven(known.map(({ connections }) => connections));
    const wasUneven = this.#wasUneven;
    this.#wasUneven = moves.length > 0;
    if (!wasUneven || this.#isAwaited()) return;
    await Promise.all(
      known.map(async ({ one: giver }, from) => {
        for (const { to, count } of moves.filter((move) => move.from === from)) {
          const taker = known[to]?.one;
          if (taker !== undefined) await this.#give(giver, taker, count);
        }
      }),
    );
  }

  async #give(giver: GenerationProcess, taker: GenerationProcess, count: number): Promise<void> {
    const restUntilMs = this.#restUntilMs.get(giver) ?? 0;
    if (taker.door === undefined || this.#isAwaited() || performance.now() < restUntilMs) return;
    const moved = await giver.give(taker.door, count, GIVE_TIMEOUT_MS).catch(() => 0);
    if (moved === 0) this.#restUntilMs.set(giver, performance.now() + REST_MS);
  }
}
