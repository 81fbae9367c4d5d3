import { MoultError } from '../errors.js';
import type { Part, Parts, Piece } from './piece.js';

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
   * What still changed in the predecessor after it had handed over, such as by requests in progress: called when it
   * has finished, with the value that was handed over and the one at its end. Default: such changes are lost.
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
export class WholePiece<T> implements Piece {
  readonly name: string;
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly changes = 0;
  readonly isOnePart = true;
  #options: StateOptions<T>;
  #given: unknown;

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

  *copy(version: number): Parts {
    yield this.#save(version).then((value) => ({ value }) satisfies Whole);
  }

  *rest(version: number): Parts {
    yield this.#save(version).then((value) => {
      if (this.wantsLate) this.#given = structuredClone(value);
      return { value } satisfies Whole;
    });
  }

  note(): void {}

  forget(): void {
    this.#given = undefined;
  }

  *late(version: number): Parts {
    const atHandover = this.#given;
    yield this.#save(version).then((atEnd) => ({ late: { atEnd, atHandover } }) satisfies Late);
  }

  async take(part: Part, version: number): Promise<void> {
    const { restore, late } = this.#options;
    if ('late' in (part as Late | Whole)) {
      const { atEnd, atHandover } = (part as Late).late;
      await late?.(await this.#up(atEnd, version), await this.#up(atHandover, version));
    } else await restore(await this.#up((part as Whole).value, version));
  }

  // It was restored whole, or not at all.
  drop(): void {}

  async #save(version: number): Promise<unknown> {
    const value = await this.#options.save();
    if (version === this.version) return value;
    if (this.#options.down === undefined) throw this.#without('down', version);
    return this.#options.down(value, version);
  }

  #up(value: unknown, version: number): T | Promise<T> {
    if (version === this.version) return value as T;
    if (this.#options.up === undefined) throw this.#without('up', version);
    return this.#options.up(value, version);
  }

  #without(what: 'up' | 'down', version: number): MoultError {
    const told = `state ${this.name}: version ${version} was agreed on with ${this.version} here, and there is no ${what}()`;
    return new MoultError('MOULT_STATE_FAILED', told);
  }
}
