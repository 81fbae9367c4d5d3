import { isDeepStrictEqual } from 'node:util';
import { MoultError } from '../errors.js';
import type { EntryLink, Part, Parts, StateEntry } from './state-entry.js';

/** The most bytes of a piece that is given whole, where the service does not say. */
export const DEFAULT_WHOLE_BYTES = 64 * 1024 * 1024;

/** How a piece of state is saved and restored. */
export interface StateOptions<T> {
  /** The version of the value; raise it when its meaning changes. Default 1. */
  readonly version?: number;
  /** The oldest version that `up` can read and `down` can write; default `version`. */
  readonly oldestVersion?: number;
  /**
   * Returns the value, which must be structured-cloneable: plain data, Map, Set, Date, Buffer, typed arrays.
   * moult calls it twice: while this generation serves, so that the successor can check that it can read the
   * value, and when the successor takes over.
   */
  save(): T | Promise<T>;
  /**
   * Replaces the current value. moult calls it before this generation is ready (if it throws, this generation
   * does not take over), again at the take-over if the value has changed, and when a successor of this
   * generation has failed.
   */
  restore(value: T): void | Promise<void>;
  /** Converts a value of an older version to this version. */
  up?(value: unknown, from: number): T | Promise<T>;
  /** Converts a value of this version to an older version, for a rollback. */
  down?(value: T, to: number): unknown;
  /**
   * Merges changes that the former owner made after it had handed over, for example by requests in progress.
   * moult calls it when that generation has finished, with its final value and the value that it handed over;
   * and, if the handover is undone, in the former owner itself, after `restore`. If an even older generation
   * finishes meanwhile, moult calls it more than once, each time with the value of the last call as
   * `atHandover`. Default: such changes are lost.
   */
  late?(atEnd: T, atHandover: T): void | Promise<void>;
  /** The maximum size in bytes; default 64 MiB. */
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
  /** Those to which it was given away. */
  readonly #given = new Set<WholeLink<T>>();

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
    return new WholeLink(this.name, this.version, this.#options, this.#given);
  }

  // It was restored whole, or not at all.
  drop(): void {}
}

/** A value and one other side: what was handed over to it last. */
class WholeLink<T> implements EntryLink {
  readonly #name: string;
  readonly #version: number;
  readonly #options: StateOptions<T>;
  readonly #all: Set<WholeLink<T>>;
  #given: { readonly value: T } | undefined;
  /** Whether what an even older generation had to tell was merged here since: it is told at once. */
  #isOwed = false;
  /** What was given before each part that is on its way, and when the other side has that: in bytes that it has read. */
  #onTheWay: { readonly given: { readonly value: T }; readonly isChange: boolean; upTo: number }[] = [];
  #onChange: () => void = () => {};

  /** @param all the links by which the value was given away. */
  constructor(name: string, version: number, options: StateOptions<T>, all: Set<WholeLink<T>>) {
    this.#name = name;
    this.#version = version;
    this.#options = options;
    this.#all = all;
  }

  get changes(): number {
    return this.#isOwed ? 1 : 0;
  }

  get unread(): ReadonlySet<string> {
    const isUnread = this.#isOwed || this.#onTheWay.some(({ isChange }) => isChange);
    return new Set(isUnread ? [this.#name] : []);
  }

  *copy(version: number): Parts {
    yield this.#save().then(async (value) => ({ value: await this.#down(value, version) }) satisfies Whole);
  }

  *rest(version: number): Parts {
    if (this.#isOwed) {
      yield* this.late(version);
      return;
    }
    yield this.#save().then(async (saved) => {
      // What is sent is what is remembered: requests in progress may change the value in between.
      const value = this.#options.late === undefined ? saved : structuredClone(saved);
      if (this.#options.late !== undefined) this.#gave(value);
      return { value: await this.#down(value, version) } satisfies Whole;
    });
  }

  note(onChange: () => void = () => {}): void {
    this.#onChange = onChange;
  }

  forget(): void {
    this.#given = undefined;
    this.#isOwed = false;
    this.#onTheWay = [];
    this.#all.delete(this);
  }

  goOn(former: EntryLink): void {
    if (!(former instanceof WholeLink)) return;
    const { first, unread } = former as WholeLink<T>;
    if (first === undefined) return;
    this.#gave(first.value);
    this.#isOwed = unread.size > 0;
  }

  /** The value of which all that came later is unread; undefined where none was given. */
  get first(): { readonly value: T } | undefined {
    return this.#onTheWay[0]?.given ?? this.#given;
  }

  sent(upTo: number): void {
    for (const part of this.#onTheWay) if (part.upTo === Number.POSITIVE_INFINITY) part.upTo = upTo;
  }

  read(upTo: number): void {
    while ((this.#onTheWay[0]?.upTo ?? Number.POSITIVE_INFINITY) <= upTo) this.#onTheWay.shift();
  }

  // In one turn where nothing of the service takes its time: whoever told of it hears only then that it was read.
  *late(version: number): Parts {
    if (this.#given === undefined) return;
    this.#isOwed = false;
    const saved = this.#options.save();
    yield saved instanceof Promise
      ? saved.then((value) => this.#since(value, version))
      : this.#since(saved, version);
  }

  #since(saved: T, version: number): Late | Promise<Late> {
    const given = this.#given ?? { value: saved };
    const value = structuredClone(saved);
    this.#gave(value);
    const isChange = !isDeepStrictEqual(value, given.value);
    this.#onTheWay.push({ given, isChange, upTo: Number.POSITIVE_INFINITY });
    const atEnd = this.#down(value, version);
    const atHandover = this.#down(given.value, version);
    if (!(atEnd instanceof Promise || atHandover instanceof Promise)) return { late: { atEnd, atHandover } };
    return Promise.all([atEnd, atHandover]).then(([end, handover]) => ({
      late: { atEnd: end, atHandover: handover },
    }));
  }

  #gave(value: T): void {
    this.#given = { value };
    this.#all.add(this);
  }

  async take(part: Part, version: number): Promise<void> {
    const { restore, late } = this.#options;
    if ('late' in (part as Late | Whole)) {
      const { atEnd, atHandover } = (part as Late).late;
      await late?.call(this.#options, await this.#up(atEnd, version), await this.#up(atHandover, version));
      for (const link of this.#all) if (link !== this) link.#owes();
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
    this.forget();
    await late.call(this.#options, atEnd, atHandover);
  }

  #owes(): void {
    this.#isOwed = true;
    this.#onChange();
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
    const told = `state ${this.#name}: the predecessor and successor agreed on version ${version}, this release has version ${this.#version} and no ${what}()`;
    return new MoultError('MOULT_STATE_FAILED', told);
  }
}
