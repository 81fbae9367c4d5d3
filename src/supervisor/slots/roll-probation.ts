import { asMoultError, type MoultError } from '../../errors.js';
import type { SlotSummary } from '../../lifecycle/roll-summary.js';
import type { Release } from '../releases/release.js';
import type { Slot } from './slot.js';

/** A slot that has the release of a roll: one that it has replaced, or one that has come since. */
export interface Replaced {
  readonly slot: Slot;
  readonly summary: Pick<SlotSummary, 'generation'>;
  /** What it ran before, or would have run. */
  readonly before: Release | undefined;
}

/** One that was replaced, and failed before all were. */
export interface Failed {
  readonly slot: Slot;
  readonly error: MoultError;
}

/** The probations of the slots of one roll: a release that fails in one of them is not left in the others. */
export class RollProbation {
  readonly #all: Replaced[] = [];
  readonly #inProbation = new Set<Replaced>();
  readonly #undo: (others: readonly Replaced[], why: string) => void;
  /** Why they are undone. */
  #why: string | undefined;

  /** @param undo is called when the first one has failed, and for each that comes later. */
  constructor(undo: (others: readonly Replaced[], why: string) => void) {
    this.#undo = undo;
  }

  /** Whether all of them are confirmed: what becomes of others is no affair of this roll. */
  get isOver(): boolean {
    return this.#why === undefined && this.#inProbation.size === 0;
  }

  /** Watches this one, too. */
  watch(one: Replaced): void {
    if (this.#why !== undefined) {
      this.#undo([one], this.#why);
      return;
    }
    this.#all.push(one);
    this.#inProbation.add(one);
    const { slot, summary } = one;
    const confirmed = slot.probation.confirmed(summary.generation);
    confirmed
      .then(() => this.#inProbation.delete(one))
      .catch((error: unknown) => {
        this.#inProbation.delete(one);
        const { code } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
        if (this.#why !== undefined || code === 'MOULT_ROLLED_BACK' || code === 'MOULT_STOPPING') return;
        this.#why = `slot ${slot.index} failed in its probation`;
        const others = this.#all.filter((other) => other.slot !== slot && isStill(other));
        this.#undo(others, this.#why);
      });
  }
}

/** Whether a slot has what the roll gave it. */
export function isStill({ slot, summary }: Replaced): boolean {
  return !slot.isLeaving && slot.generations.current?.number === summary.generation;
}

/** Which of those that were replaced has failed in its probation since. */
export function failedSince(replaced: readonly Replaced[]): Failed | undefined {
  for (const { slot, summary } of replaced) {
    const error = slot.probation.failureOf(summary.generation);
    if (error !== undefined) return { slot, error };
  }
  return undefined;
}
