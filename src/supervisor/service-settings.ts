import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../errors.js';
import type { SupervisorOptions } from './options.js';
import { type Release, resolveRelease, type ServiceCommand } from './releases/release.js';

/** What a supervisor is told of its service, at its start and whenever it asks again. */
export interface GivenSettings {
  readonly service: ServiceCommand;
  readonly options: SupervisorOptions;
  readonly logLevel: string;
  /** The config file and what it held, where there is one. */
  readonly config?: { readonly file: string; readonly content: unknown };
  /** Each option as it is written, and where it comes from. */
  readonly held: readonly HeldOption[];
}

/** Where a value comes from. */
export type OptionOrigin = 'command line' | 'file' | 'default';

/** One option as it holds. */
export interface HeldOption {
  readonly key: string;
  readonly value: unknown;
  readonly from: OptionOrigin;
}

/** A change of what holds, for the time of a restart: it stays when that succeeds. */
export interface SettingsChange {
  readonly release: Release;
  /** Goes back to what held before, unless something newer holds by now. */
  revert(): void;
}

/**
 * What holds for a service. Command and options are the same objects all the time: who has them reads what holds at that
 * moment, so that a restart can bring new ones.
 */
export class ServiceSettings {
  readonly service: ServiceCommand;
  readonly options: SupervisorOptions;
  readonly #read: (() => Promise<GivenSettings>) | undefined;
  readonly #loggers: Logger[] = [];
  #now: GivenSettings;

  /** @param read asks again, and throws where what it finds cannot hold; without it nothing ever changes. */
  constructor(first: GivenSettings, read?: () => Promise<GivenSettings>) {
    this.#now = first;
    this.service = { ...first.service };
    this.options = { ...first.options };
    this.#read = read;
  }

  /** What holds, with where it comes from. */
  get now(): GivenSettings {
    return this.#now;
  }

  /** Has the number of slots be what it was: one that was read could not be had. */
  keepSlots(slots: number | null): void {
    this.#now = { ...this.#now, options: { ...this.#now.options, slots } };
    replace(this.options, this.#now.options);
  }

  /** A log whose level is among the settings. */
  follows(log: Logger): Logger {
    this.#loggers.push(log);
    return log;
  }

  /**
   * Asks again, has what it is told hold, and resolves the command to the release that its paths hold now.
   * @throws what keeps it from holding; nothing has changed then
   */
  async renew(): Promise<SettingsChange> {
    const before = this.#now;
    const next = this.#read === undefined ? before : await this.#read().catch(refuse);
    this.#hold(next);
    const revert = () => {
      if (this.#now === next) this.#hold(before);
    };
    try {
      return { release: resolveRelease(this.service), revert };
    } catch (error) {
      revert();
      throw error;
    }
  }

  #hold(next: GivenSettings): void {
    if (next === this.#now) return;
    this.#now = next;
    replace(this.service, next.service);
    replace(this.options, next.options);
    for (const log of this.#loggers) log.level = next.logLevel;
  }
}

// Only here are they written.
function replace<T extends object>(target: T, next: T): void {
  for (const key of Object.keys(target)) if (!(key in next)) Reflect.deleteProperty(target, key);
  Object.assign(target, next);
}

function refuse(error: unknown): never {
  const told = asMoultError(error, 'MOULT_CONFIG_FAILED');
  throw new MoultError(told.code, `${told.message}; nothing has changed`, {
    serving: 'predecessor',
    cause: error,
  });
}
