import type { Line } from '../../channel/line.js';
import { asMoultError, MoultError } from '../../errors.js';
import type { Predecessor } from '../../handover/predecessor.js';
import type { Successor } from '../../handover/successor.js';
import type { Settings } from '../../protocol/messages.js';
import type { GenerationDoor } from './generation-door.js';

/** What it takes to expect a successor. */
export interface ExpectedSuccessorParts {
  /** Of this generation. */
  readonly number: number;
  readonly door: GenerationDoor;
  /** This generation's end of the handover to its successor. */
  readonly predecessor: () => Predecessor;
  /** Its end of the handover from its own predecessor. */
  readonly successor: () => Successor;
  readonly lifeline: () => Line;
}

/** The successor that a generation was told to expect last. */
export class ExpectedSuccessor {
  readonly #parts: ExpectedSuccessorParts;
  #number: number | undefined;

  constructor(parts: ExpectedSuccessorParts) {
    this.#parts = parts;
  }

  /** Its number; undefined where there was none. */
  get number(): number | undefined {
    return this.#number;
  }

  /** Expects one, and answers the overseer, which asked for that. */
  expect(generation: number, settings: Settings): void {
    const { door, predecessor, successor, lifeline } = this.#parts;
    try {
      this.#assertStays();
      // A successor that is started now must find it.
      door.open();
      // Who is to be replaced has proved itself: its own predecessor is not needed any more.
      successor().confirm();
      predecessor().expect(generation, settings);
      this.#number = generation;
      lifeline().send({ type: 'expecting', generation });
    } catch (error) {
      const report = asMoultError(error, 'MOULT_PROTOCOL_ORDER').report();
      lifeline().send({ type: 'expecting', generation, error: report });
    }
  }

  /** A process has come that nobody announced. @returns the number that it is given. @throws MOULT_RESTART_IN_PROGRESS, or what `admit` throws. */
  expectStranger(admit: () => { readonly number: number; readonly settings: Settings }): number {
    const { predecessor, successor } = this.#parts;
    this.#assertStays();
    const { number, settings } = admit();
    successor().confirm();
    predecessor().expect(number, settings);
    this.#number = number;
    return number;
  }

  // Whether it is to hand back is not known yet: it cannot be replaced.
  #assertStays(): void {
    if (!this.#parts.successor().isGivingUp) return;
    const why = `generation ${this.#parts.number} has failed and asked its predecessor to serve again`;
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', why);
  }
}
