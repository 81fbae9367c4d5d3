import type { Roll } from '../../../fleet/roll/roll.js';
import { type Member, membersOf, rollOf } from '../../../fleet/roster.js';
import type { FleetSettings } from '../../../fleet/settings.js';
import { FleetStore } from '../../../fleet/store/store.js';

/** A fleet as it is now. */
export interface FleetNow {
  readonly name: string;
  readonly services: readonly {
    readonly service: string;
    readonly members: readonly Member[];
    readonly roll: Roll | undefined;
    /** What is wrong with what is in the place of its roll. */
    readonly trouble: string | undefined;
  }[];
}

/** Looks at a fleet again and again over one connection, or over the next where that is over. */
export class FleetLooks {
  readonly #settings: FleetSettings;
  readonly #service: string | undefined;
  #store: FleetStore | undefined;
  /** A connection that is on its way. */
  #opening: Promise<FleetStore> | undefined;
  #isOver = false;

  /** @param service the only one that is looked at; all where it is not given. */
  constructor(settings: FleetSettings, service?: string) {
    this.#settings = settings;
    this.#service = service;
  }

  /** How the fleet is now. @throws MOULT_FLEET_UNREACHABLE; the next look tries again. */
  async look(): Promise<FleetNow> {
    return fleetNow(await this.#opened(), this.#settings.name, this.#service);
  }

  /** Looks no more: a look that is under way fails, and leaves no connection behind. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#opening?.catch(() => {});
    await this.#store?.close();
  }

  async #opened(): Promise<FleetStore> {
    if (this.#store?.connection.isClosed() === false) return this.#store;
    if (this.#isOver) throw new Error('nobody looks at this fleet any more');
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<FleetStore> {
    try {
      this.#store = await FleetStore.open(this.#settings);
      return this.#store;
    } finally {
      this.#opening = undefined;
    }
  }
}

async function fleetNow(store: FleetStore, name: string, service: string | undefined): Promise<FleetNow> {
  const members = await membersOf(store, service);
  const services = [...new Set(members.map((one) => one.service))];
  return {
    name,
    services: await Promise.all(
      services.map(async (one) => {
        const found = await rollOf(store, one);
        return {
          service: one,
          members: members.filter((member) => member.service === one),
          roll: found !== undefined && 'roll' in found ? found.roll : undefined,
          trouble: found !== undefined && 'trouble' in found ? found.trouble : undefined,
        };
      }),
    ),
  };
}
