import { MoultError } from '../errors.js';
import type { Parts, Piece } from './piece.js';
import { type StateMap, watch } from './state-map.js';

/** The most bytes of a map, where the service does not say. */
export const DEFAULT_MAP_BYTES = 4 * 1024 * 1024 * 1024;
/** A part holds about so many bytes: serializing it must not hold up the service. */
const PART_BYTES = 256 * 1024;
/** How many entries the first part has; from its size follows how many the next may have. */
const FIRST_ENTRIES = 32;
const MOST_ENTRIES = 20_000;

/** How a map of the service changes hands. */
export interface MapOptions<K, V> {
  /** What the entries mean; raised whenever that changes. Default 1. */
  readonly version?: number;
  /** The oldest version that `up` can read and `down` can write; default `version`. */
  readonly oldestVersion?: number;
  /** An entry of an older version as one of this version. */
  up?(entry: [unknown, unknown], from: number): [K, V];
  /** An entry of this version as one of an older version, for a release that goes back. */
  down?(entry: [K, V], to: number): [unknown, unknown];
  /** The most bytes that it may have; default 4 GiB. */
  readonly maxBytes?: number;
}

type Entry = [unknown, unknown];

interface MapPart {
  readonly clear?: true;
  readonly set?: readonly Entry[];
  /** Keys, each with the value undefined, so that a migration sees an entry. */
  readonly delete?: readonly Entry[];
}

/** A map, given entry by entry. */
export class MapPiece<K, V> implements Piece {
  readonly name: string;
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly wantsLate = false;
  readonly isOnePart = false;
  #map: StateMap<K, V>;
  #options: MapOptions<K, V>;
  /** The keys that have changed; undefined while nothing is noted. */
  #changed: Set<K> | undefined;
  #wasCleared = false;

  constructor(name: string, map: StateMap<K, V>, options: MapOptions<K, V>) {
    this.name = name;
    this.version = options.version ?? 1;
    this.oldestVersion = options.oldestVersion ?? this.version;
    this.maxBytes = options.maxBytes ?? DEFAULT_MAP_BYTES;
    this.#map = map;
    this.#options = options;
  }

  get changes(): number {
    return (this.#changed?.size ?? 0) + (this.#wasCleared ? 1 : 0);
  }

  *copy(version: number): Parts {
    this.note();
    yield { clear: true } satisfies MapPart;
    // The iterator goes on over what is set meanwhile, and leaves out what is deleted before it comes there.
    yield* this.#inParts(this.#map.entries(), (entries) => ({
      set: entries.map((entry) => this.#down(entry, version)),
    }));
  }

  *rest(version: number): Parts {
    const changed = this.#changed;
    if (changed === undefined) {
      yield* this.copy(version);
      return;
    }
    const wasCleared = this.#wasCleared;
    this.#changed = new Set();
    this.#wasCleared = false;
    if (wasCleared) yield { clear: true } satisfies MapPart;
    yield* this.#inParts(changed.values(), (keys) => this.#partOf(keys, version));
  }

  note(onChange: () => void = () => {}): void {
    this.#changed ??= new Set();
    watch(this.#map, {
      changed: (key) => {
        this.#changed?.add(key);
        onChange();
      },
      cleared: () => {
        this.#changed?.clear();
        this.#wasCleared = true;
        onChange();
      },
    });
  }

  forget(): void {
    watch(this.#map, undefined);
    this.#changed = undefined;
    this.#wasCleared = false;
  }

  // What changes late is told as it changes.
  *late(): Parts {}

  take(part: unknown, version: number): void {
    const { clear, set = [], delete: deleted = [] } = part as MapPart;
    if (clear) this.#map.clear();
    for (const entry of set) {
      const [key, value] = this.#up(entry, version);
      this.#map.set(key, value);
    }
    for (const entry of deleted) this.#map.delete(this.#up(entry, version)[0]);
  }

  drop(): void {
    this.#map.clear();
  }

  // A key may have changed once more since it was noted: its value is the one of now, and it is noted again.
  #partOf(keys: readonly K[], version: number): MapPart {
    const set: Entry[] = [];
    const gone: Entry[] = [];
    for (const key of keys) {
      const value = this.#map.get(key);
      if (this.#map.has(key)) set.push(this.#down([key, value as V], version));
      else gone.push(this.#down([key, undefined as V], version));
    }
    return { set, delete: gone };
  }

  *#inParts<T>(all: Iterator<T>, partOf: (some: readonly T[]) => MapPart): Parts {
    let entries = FIRST_ENTRIES;
    for (;;) {
      const some: T[] = [];
      while (some.length < entries) {
        const { done, value } = all.next();
        if (done) break;
        some.push(value);
      }
      if (some.length === 0) return;
      const bytes = yield partOf(some);
      const fitting = Math.ceil((some.length * PART_BYTES) / Math.max(1, bytes));
      entries = Math.max(1, Math.min(fitting, entries * 4, MOST_ENTRIES));
    }
  }

  #up(entry: readonly unknown[], version: number): [K, V] {
    if (version === this.version) return entry as unknown as [K, V];
    if (this.#options.up === undefined) throw this.#without('up', version);
    return this.#options.up(entry as Entry, version);
  }

  #down(entry: [K, V], version: number): Entry {
    if (version === this.version) return entry;
    if (this.#options.down === undefined) throw this.#without('down', version);
    return this.#options.down(entry, version);
  }

  #without(what: 'up' | 'down', version: number): MoultError {
    const told = `state ${this.name}: version ${version} was agreed on with ${this.version} here, and there is no ${what}()`;
    return new MoultError('MOULT_STATE_FAILED', told);
  }
}
