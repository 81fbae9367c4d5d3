import type { EventEmitter } from 'node:events';
import type { Line } from '../../channel/line.js';
import type { Measuring } from '../../connections/measuring.js';
import type { GenerationContext } from '../../handover/generation-context.js';
import type { Successor } from '../../handover/successor.js';
import type { DrainReport } from '../../protocol/messages.js';
import { askToEnd } from '../ask-to-end.js';
import type { LifeEvents } from '../life-events.js';
import type { Overseer } from '../overseer/overseer.js';

/** What an end waits for, and who hears of it. */
export interface GenerationEndParts {
  readonly context: GenerationContext;
  readonly life: EventEmitter<LifeEvents>;
  readonly measuring: Measuring;
  readonly stopSignal: string;
  readonly lifeline: () => Line;
  readonly overseer: () => Overseer;
  readonly successor: () => Successor;
}

/** The end of a generation that has drained: as the service is used to, its own handlers run, and whatever it holds itself is closed by it. */
export class GenerationEnd {
  readonly #parts: GenerationEndParts;
  readonly #before: (() => unknown)[] = [];
  #hasBegun = false;

  constructor(parts: GenerationEndParts) {
    this.#parts = parts;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Has this done before the process gets its stop signal. */
  before(work: () => unknown): void {
    this.#before.push(work);
  }

  /** Nothing is left to do: the process gets its stop signal. */
  begin(report: DrainReport): void {
    const { context, life, measuring, stopSignal, lifeline, overseer, successor } = this.#parts;
    this.#hasBegun = true;
    const measures = measuring.measured;
    lifeline().send({ type: 'drained', report, ...(measures && { measures }) });
    life.emit('end', report);
    lifeline().unref();
    successor().unref();
    lifeline().ref();
    const work = this.#before.map(async (one) => one());
    Promise.allSettled([overseer().mayEnd, context.tasks.close(), ...work]).then(() => {
      lifeline().unref();
      context.threads.end();
      askToEnd(stopSignal as NodeJS.Signals);
    });
  }
}
