import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import { lacks } from '../../lifecycle/listener-names.js';
import { describeExit } from '../../os/processes/process.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { Expectations, SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { OutsideLook } from '../reachability/outside-look.js';
import type { KeptReleases } from '../releases/kept-releases.js';
import type { Slot } from './slot.js';
import { type LostState, lostOf, type SlotState, whatIsLost } from './slot-state.js';
import { releaseOf, type Slots } from './slots.js';

/** What a change of the number of slots came to. */
export interface Scaled {
  readonly slots: number;
  readonly were: number;
  /** What slots had that have ended, and no other slot has. */
  readonly lost?: readonly LostState[];
}

/** A slot that has come, and its first generation. */
export interface StartedSlot {
  readonly slot: Slot;
  readonly generation: GenerationProcess;
}

/** The same, with the slots that are new. */
export type ScaledTo = Scaled & { readonly started: readonly StartedSlot[] };

/** How long a slot that is to end may take to say what it has. */
const DECLARED_TIMEOUT_MS = 2000;

/** Adds slots to a service, or ends some while the others go on. */
export class Scaling {
  readonly #parts: {
    readonly slots: Slots;
    readonly held: HeldListeners;
    readonly look: OutsideLook;
    readonly kept: KeptReleases;
    readonly options: SupervisorOptions;
    readonly journal: Journal;
    readonly log: Logger;
  };

  constructor(parts: {
    readonly slots: Slots;
    readonly held: HeldListeners;
    readonly look: OutsideLook;
    readonly kept: KeptReleases;
    readonly options: SupervisorOptions;
    readonly journal: Journal;
    readonly log: Logger;
  }) {
    this.#parts = parts;
  }

  /**
   * Has so many slots from now on.
   * @returns when those that are new serve, or those that are to end have ended.
   * @param dropState whether slots end although they have what no other slot takes.
   * @throws MOULT_STATE_LOST when they have, and are not to be ended; MOULT_NOT_SERVING when no slot serves that others could be like; MOULT_RELEASE_CHANGED
   *   when those that are new would start other code; MOULT_SUCCESSOR_EXITED, MOULT_START_FAILED MOULT_NOT_REACHED
   *   or MOULT_READY_TIMEOUT when a new one did not come to serve: then those that are new are ended again.
   */
  async to(count: number, dropState: boolean): Promise<ScaledTo> {
    const { slots, journal, log } = this.#parts;
    const were = slots.staying.length;
    const lost = dropState ? await this.#lost(count) : await this.assertKeepsState(count);
    journal.write({ event: 'scale', slots: count });
    const started = await this.#grow(count).catch((error: unknown) => {
      journal.write({ event: 'scale', slots: were });
      throw error;
    });
    if (count < were) await this.#end(slots.staying.slice(count));
    if (count !== were) log.info(`${count} slots serve, ${were} did before`);
    if (lost.length === 0) return { slots: count, were, started };
    log.warn(`lost with the slots that have ended: ${lost.map(whatIsLost).join(', ')}`);
    return { slots: count, were, started, lost };
  }

  /** @returns an empty list. @throws MOULT_STATE_LOST where slots that end have what no other slot takes. */
  async assertKeepsState(count: number): Promise<readonly LostState[]> {
    const lost = await this.#lost(count);
    if (lost.length === 0) return lost;
    const { length } = this.#parts.slots.staying;
    const what = `${count} instead of ${length} slots would lose ${lost.map(whatIsLost).join(', ')}`;
    throw new MoultError('MOULT_STATE_LOST', `${what}; nothing was changed`, { details: { lost } });
  }

  async #grow(count: number): Promise<StartedSlot[]> {
    const { slots, kept } = this.#parts;
    if (count <= slots.staying.length) return [];
    const serving = slots.staying.filter((slot) => slot.serves);
    // What a crash has started from changed files may serve beside it, and has yet to prove itself.
    const model = serving.find(({ generations }) => generations.current?.isProved) ?? serving[0];
    if (model === undefined) {
      throw new MoultError(
        'MOULT_NOT_SERVING',
        'no slot serves at the moment, so there is no release to start',
      );
    }
    const release = await kept.asItWas(releaseOf(model), 'start again');
    const taken = new Set(slots.all.map(({ index }) => index));
    const started: StartedSlot[] = [];
    for (let index = 0; slots.staying.length < count; index += 1) {
      if (taken.has(index)) continue;
      const generation = slots.startLike(model, index, { ...this.#expectations(), release });
      started.push({ slot: slots.at(index), generation });
    }
    try {
      await Promise.all(started.map((one) => this.#serves(one)));
      return started;
    } catch (error) {
      await this.#end(started.map(({ slot }) => slot));
      throw error;
    }
  }

  // What all others listen on; with one other, which may have some for itself alone, it is only waited for.
  #expectations(): Expectations {
    const { slots, held, options } = this.#parts;
    const serving = slots.staying.flatMap(({ generations }) => generations.current ?? []);
    if (serving.length < 2) return { fewerAfterMs: options.readyTimeoutMs / 2 };
    const [first = [], ...others] = serving.map(({ number }) => held.namesOf(number));
    const expects = first.filter((name) => others.every((names) => names.includes(name)));
    return { expects, fewerAfterMs: options.readyTimeoutMs };
  }

  async #serves({ slot, generation }: StartedSlot): Promise<void> {
    const { readyTimeoutMs } = this.#parts.options;
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), readyTimeoutMs);
    });
    const how = await Promise.race([generation.serves, generation.exited, late]);
    clearTimeout(limit);
    if (how === undefined) {
      await this.#parts.look.at(generation);
      await slot.startedFiles.isKnown(generation);
      return;
    }
    const number = `generation ${generation.number}`;
    if (how === 'late')
      throw new MoultError(
        'MOULT_READY_TIMEOUT',
        `${number} was not ready within ${readyTimeoutMs} ms${whatIsMissing(generation)}`,
      );
    const isStarted = how.notStarted === undefined;
    const code = isStarted ? 'MOULT_SUCCESSOR_EXITED' : 'MOULT_START_FAILED';
    throw new MoultError(code, `${number} ${describeExit(how)}${isStarted ? ' before it served' : ''}`, {
      details: { output: generation.lastLines.slice(-20) },
    });
  }

  // What a slot has that does not answer is not known: it may be anything.
  async #lost(count: number): Promise<LostState[]> {
    if (count >= this.#parts.slots.staying.length) return [];
    const all = await Promise.all(this.#parts.slots.staying.map((slot) => this.#stateOf(slot)));
    return lostOf(all.slice(count), all.slice(0, count));
  }

  async #stateOf({ index = 0, generations }: Slot): Promise<SlotState> {
    try {
      return { index, ...(await generations.current?.declared(DECLARED_TIMEOUT_MS)) };
    } catch (error) {
      const isAlive = asMoultError(error, 'MOULT_PEER_CLOSED').code === 'MOULT_PEER_TIMEOUT';
      return { index, isSilent: isAlive };
    }
  }

  async #end(leaving: readonly Slot[]): Promise<void> {
    const { slots } = this.#parts;
    const staying = slots.staying.filter((slot) => !leaving.includes(slot));
    const heirs = staying.flatMap(({ generations }) => generations.current?.door ?? []);
    await Promise.all(leaving.map((slot) => slot.leave(heirs)));
    for (const slot of leaving) slots.remove(slot);
  }
}

function whatIsMissing({ missing }: GenerationProcess): string {
  return missing === undefined || missing.names.length === 0 ? '' : `: it ${lacks(missing)}`;
}
