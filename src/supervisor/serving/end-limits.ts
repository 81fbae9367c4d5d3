import type { Logger } from 'pino';
import { Deadline } from '../../os/deadline.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { Probation } from '../restart/probation.js';

/** What it takes to know how long a generation may live on. */
export interface EndLimitsParts {
  readonly generations: Generations;
  readonly probation: Probation;
  readonly options: SupervisorOptions;
  readonly log: Logger;
}

/** Kills generations that are to end by themselves, and have not in time. */
export class EndLimits {
  readonly #parts: EndLimitsParts;

  constructor(parts: EndLimitsParts) {
    this.#parts = parts;
  }

  /** A predecessor ends itself when it has drained; one that is hung is ended all the same. */
  ofPredecessor(generation: GenerationProcess): void {
    if (!generation.isOurs || generation.endsInTime) return;
    const { generations, probation, options, log } = this.#parts;
    const { drainTimeoutMs, probationMs, stopTimeoutMs, readyTimeoutMs } = options;
    const end = () => {
      if (generations.current === generation) return;
      log.warn(`generation ${generation.number} did not exit in time and is killed`);
      generation.kill();
    };
    let limit = new Deadline(Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs, () => {
      // It is to serve again, and may have state to restore first.
      const isToResume = probation.predecessor === generation && probation.successor?.isUndone;
      if (isToResume) limit = new Deadline(readyTimeoutMs + stopTimeoutMs, end).unref();
      else end();
    }).unref();
    generation.exited.then(() => limit.clear());
  }

  /** One that serves beside another has been told to retire. */
  ofRetired(generation: GenerationProcess): void {
    const { drainTimeoutMs, stopTimeoutMs } = this.#parts.options;
    const late = new Deadline(drainTimeoutMs + stopTimeoutMs, () => generation.kill()).unref();
    generation.exited.then(() => late.clear());
  }

  /** One that has drained gives itself its stop signal. */
  ofDrained(generation: GenerationProcess): void {
    const { options, log } = this.#parts;
    const late = `did not exit within ${options.stopTimeoutMs} ms of its stop signal and is killed`;
    const timer = setTimeout(() => {
      log.warn(`generation ${generation.number} ${late}`);
      generation.kill();
    }, options.stopTimeoutMs);
    generation.exited.then(() => clearTimeout(timer));
  }
}
