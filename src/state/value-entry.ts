import { MoultError } from '../errors.js';
import type { EntryLink, Part, Parts, StateEntry } from './state-entry.js';

/** The most bytes of a piece that is given whole, where the service does not say. */
export const DEFAULT_WHOLE_BYTES = 64 * 1024 * 1024;

/** How a service gives a piece of its state away, and takes it. */
export interface StateOptions<T> {
  /** What the value means; raised whenever that changes. Default 1. */
  readonly version?: number;
  /** The oldest version that `up` can read and `down` can write; default `version`. */
  readonly oldestVersion?: number;
  /**
   * The value, structured-cloneable: plain data, Map, Set, Date, Buffer, typed arrays. Called twice: while this
   * generation serves, so that its successor can see whether it can read it, and when the successor takes over.
   */
  save(): T | Promise<T>;
  /**
   * Puts this value in the place of what is there. Called before this generation is ready, where it keeps it from
   * taking over by throwing; again when it takes over, where the value has changed; and when its successor failed.
   */
  restore(value: T): void | Promise<void>;
  /** A value of an older version as one of this version. */
  up?(value: unknown, from: number): T | Promise<T>;
  /** A value of this version as one of an older version, for a release that goes back. */
  down?(value: T, to: number): unknown;
  /**
   * What still changed in the former owner after it had handed over, such as by requests in progress: called when it
   * has finished, with the value that was handed over and the one at its end; and in the former owner itself after
   * `restore`, where the handover is undone. Default: such changes are lost.
   */
  late?(atEnd: T, atHandover: T): void | Promise<void>;
  /** The most bytes that it may have; default 64 MiB. */
  readonly maxBytes?: number;
}

interface Late {
  readonly late: { readonly atEnd: unknown; readonly atHandover: unknown };
}

interface Whole {
  readonly value: unknown;
}

/** A piece that is given whole: one value. */
export class ValueEntry<T> implements StateEntry {
  readonly name: string;
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly isOnePart = true;
  readonly isOfTask = false;
  readonly #options: StateOptions<T>;

  constructor(name: string, options: StateOptions<T>) {
    this.name = name;
    this.version = options.version ?? 1;
    this.oldestVersion = options.oldestVersion ?? this.version;
    this.maxBytes = options.maxBytes ?? DEFAULT_WHOLE_BYTES;
    this.#options = options;
  }

  get wantsLate(): boolean {
    return this.#options.late !== undefined;
  }

  link(_pid: number): EntryLink {
    return new WholeLink(this.name, this.version, this.#options);
  }

  // It was restored whole, or not at all.
  drop(): void {}
}

/** A value and one other side: what was handed over to it last. */
class WholeLink<T> implements EntryLink {
  readonly changes = 0;
  readonly #name: string;
  readonly #version: number;
  readonly #options: StateOptions<T>;
  #given: { readonly value: T } | undefined;

  constructor(name: string, version: number, options: StateOptions<T>) {
    this.#name = name;
    this.#version = version;
    this.#options = options;
  }

  *copy(version: number): Parts {
    yield this.#save().then(async (value) => ({ value: await this.#down(value, version) }) satisfies Whole);
  }

  *rest(version: number): Parts {
    yield this.#save().then(async (saved) => {
      // What is sent is what is remembered: requests in progress may change the value in between.
      const value = this.#options.late === undefined ? saved : structuredClone(saved);
      if (this.#options.late !== undefined) this.#given = { value };
      return { value: await this.#down(value, version) } satisfies Whole;
    });
  }

  note(): void {}

  forget(): void {
    this.#given = undefined;
  }

  *late(version: number): Parts {
    const given = this.#given;
    if (given === undefined) return;
    yield this.#save().then(async (value) => {
      const atEnd = await this.#down(value, version);
      const atHandover = await this.#down(given.value, version);
      return { late: { atEnd, atHandover } } satisfies Late;
    });
  }

  async take(part: Part, version: number): Promise<void> {
    const { restore, late } = this.#options;
    if ('late' in (part as Late | Whole)) {
      const { atEnd, atHandover } = (part as Late).late;
      await late?.(await this.#up(atEnd, version), await this.#up(atHandover, version));
      return;
    }
    const value = await this.#up((part as Whole).value, version);
    if (late === undefined || this.#given === undefined) await restore(value);
    else await this.#takeBack(value, late);
  }

  // What was changed here since it was given away is added to what comes back. Where nothing of the service takes its
  // time, all of it is one turn: no request comes in between.
  async #takeBack(value: T, late: NonNullable<StateOptions<T>['late']>): Promise<void> {
    const atHandover = this.#given?.value as T;
    const saved = this.#options.save();
    const atEnd = structuredClone(saved instanceof Promise ? await saved : saved);
    const restored = this.#options.restore(value);
    if (restored instanceof Promise) await restored;
    this.#given = undefined;
    await late.call(this.#options, atEnd, atHandover);
  }

  async #save(): Promise<T> {
    return this.#options.save();
  }

  #down(value: T, version: number): unknown {
    if (version === this.#version) return value;
    if (this.#options.down === undefined) throw this.#without('down', version);
    return this.#options.down(value, version);
  }

  #up(value: unknown, version: number): T | Promise<T> {
    if (version === this.#version) return value as T;
    if (this.#options.up === undefined) throw this.#without('up', version);
    return this.#options.up(value, version);
  }

  #without(what: 'up' | 'down', version: number): MoultError {
    const told = `state ${this.#name}: version ${version} was agreed on with ${this.#version} here, and there is no ${what}()`;
    return new MoultError('MOULT_STATE_FAILED', told);
  }
}
