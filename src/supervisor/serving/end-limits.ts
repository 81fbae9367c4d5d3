import type { Logger } from 'pino';
import { Deadline } from '../../os/deadline.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { Probation } from '../restart/probation.js';

/** How long a predecessor may take to answer that it still can resume. */
const ANSWER_MS = 5000;
const LOOK_AGAIN_MS = 1000;
const CAN_RESUME = new Set(['probation', 'verifying', 'undoing']);

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
  readonly #ofPredecessors = new Map<GenerationProcess, Deadline>();

  constructor(parts: EndLimitsParts) {
    this.#parts = parts;
  }

  /** A predecessor ends itself when it has drained; one that is hung is ended all the same. */
  ofPredecessor(generation: GenerationProcess): void {
    if (!generation.isOurs || generation.endsInTime) return;
    const { generations, probation, options, log } = this.#parts;
    const { drainTimeoutMs, probationMs, stopTimeoutMs, readyTimeoutMs } = options;
    this.servesOn(generation);
    let limit: Deadline;
    const begin = (ms: number, strike: () => void) => {
      limit = new Deadline(ms, strike).unref();
      this.#ofPredecessors.set(generation, limit);
    };
    const end = () => {
      if (generations.current === generation) return;
      log.warn(`generation ${generation.number} did not exit in time and is killed`);
      generation.kill();
    };
    const strike = async () => {
      const struck = limit;
      const isAwaited = probation.predecessor === generation;
      // It is to serve again, and may have state to restore first.
      if (isAwaited && probation.successor?.isUndone) {
        begin(readyTimeoutMs + stopTimeoutMs, end);
        return;
      }
      // Until its successor is confirmed, one that answers can take the service back.
      const state = isAwaited ? await generation.state(ANSWER_MS).catch(() => undefined) : undefined;
      if (this.#ofPredecessors.get(generation) !== struck) return;
      if (CAN_RESUME.has(state?.state ?? '')) begin(Math.max(stopTimeoutMs, LOOK_AGAIN_MS), strike);
      else end();
    };
    begin(Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs, strike);
    generation.exited.then(() => this.servesOn(generation));
  }

  /** One that was to end is not to end any more: the limit must not strike in a later handover. */
  servesOn(generation: GenerationProcess): void {
    this.#ofPredecessors.get(generation)?.clear();
    this.#ofPredecessors.delete(generation);
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
