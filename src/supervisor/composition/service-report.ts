import type { Measures } from '../../protocol/messages.js';
import { MOULT_VERSION } from '../../version.js';
import type { ServiceSettings } from '../service-settings.js';
import type { Shutdown } from '../serving/shutdown.js';
import type { InitialSlots } from '../slots/initial-slots.js';
import type { Recycler } from '../slots/recycler.js';
import type { RollingRestart } from '../slots/rolling-restart.js';
import type { Slot } from '../slots/slot.js';
import { slotsServing } from '../slots/slot-teller.js';
import type { Slots } from '../slots/slots.js';
import {
  generationStatus,
  type HeldConfig,
  isUnfound,
  type ServiceStatus,
  type SlotFacts,
  type SupervisorState,
} from '../status.js';

/** What is reported of. */
export interface ServiceReportParts {
  /** The name of the service. */
  readonly name: string;
  /** When this program of the supervisor began, in milliseconds since 1970. */
  readonly startedAt: number;
  readonly settings: ServiceSettings;
  readonly slots: Slots;
  /** The only slot, or the one that is there from the first start to the last stop. */
  readonly first: Slot;
  readonly slotStartup: InitialSlots;
  readonly rollingRestart: RollingRestart;
  readonly recycler: Recycler;
  readonly shutdown: Shutdown;
}

/** Tells how a service does. */
export class ServiceReport {
  readonly #parts: ServiceReportParts;
  /** Whether there were as many slots as it was started with. */
  #hasBeenWhole = false;

  constructor(parts: ServiceReportParts) {
    this.#parts = parts;
  }

  /** Who serves, in one line. */
  servingStatus(): string {
    return this.#hasSlots ? slotsServing(this.#parts.slots) : this.#parts.first.servingState.servingStatus();
  }

  /** How each slot does, apart from its generations. */
  slots(): SlotFacts[] {
    return this.#parts.slots.staying.map(({ index, probation, crashRecovery }) => ({
      slot: index,
      inProbation: probation.successor?.number,
      nextStartAt: crashRecovery.dueAt,
    }));
  }

  /** What a generation said last that it has measured. */
  measuresOf(generation: number): Measures | undefined {
    return this.#parts.slots.generations().find(({ number }) => number === generation)?.measures;
  }

  /**
   * What runs now.
   * @param measure whether the generations are to measure, and tell of it.
   * @param withConfig whether the options that hold are told, too.
   */
  async status(measure = false, withConfig = false): Promise<ServiceStatus> {
    const slots = this.#parts.slots.all;
    const generations = await Promise.all(
      slots.flatMap(({ index, generations: all, probation }) =>
        all.all().map(async (one) => {
          const until = probation.watchedUntil(one);
          return {
            ...(index === undefined ? {} : { slot: index }),
            ...(await generationStatus(one, measure)),
            ...(until === undefined ? {} : { watchedUntil: until }),
          };
        }),
      ),
    );
    const waits = this.#parts.slots.staying.flatMap(({ index, serves, crashRecovery: { wait } }) =>
      serves || wait === undefined ? [] : [{ ...(index === undefined ? {} : { slot: index }), ...wait }],
    );
    const sum = (of: (slot: Slot) => number) => slots.reduce((all, slot) => all + of(slot), 0);
    return {
      name: this.#parts.name,
      pid: process.pid,
      version: MOULT_VERSION,
      state: this.#state(),
      command: this.#parts.settings.service.words.join(' '),
      startedAt: this.#parts.startedAt,
      restarts: sum(({ restarts }) => restarts.succeeded) + this.#parts.slots.gone.restarts,
      crashes: sum(({ servingState }) => servingState.exits.crashes) + this.#parts.slots.gone.crashes,
      ...(this.#hasSlots ? { slots: this.#parts.slots.staying.length } : {}),
      ...(withConfig ? { config: this.#heldConfig() } : {}),
      ...(waits.length === 0 ? {} : { waits }),
      ...(this.#parts.recycler.last === undefined ? {} : { recycled: this.#parts.recycler.last }),
      generations,
    };
  }

  #heldConfig(): HeldConfig {
    const { config, held } = this.#parts.settings.now;
    return { file: config?.file ?? null, options: held };
  }

  #state(): SupervisorState {
    if (this.#parts.shutdown.state !== undefined) return this.#parts.shutdown.state;
    const slots = this.#parts.slots.staying;
    if (slots.some((slot) => !slot.serves && slot.crashRecovery.isWaiting)) return 'waiting';
    const isHandingOver = slots.some(
      ({ restarts, outgoingTakeover }) => restarts.isHandingOver || outgoingTakeover.isUnderWay,
    );
    if (isHandingOver || (this.#hasSlots && this.#parts.rollingRestart.isUnderWay)) return 'restarting';
    this.#hasBeenWhole ||= slots.length >= this.#parts.slotStartup.expected;
    if (!this.#hasBeenWhole || !slots.every(({ serves }) => serves)) return 'starting';
    const isUnseen = ({ generations: { current } }: Slot) => current !== undefined && isUnfound(current);
    return slots.some(isUnseen) ? 'verifying' : 'serving';
  }

  get #hasSlots(): boolean {
    return this.#parts.settings.options.slots !== null;
  }
}
