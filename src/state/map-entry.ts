import { MoultError } from '../errors.js';
import { type Entry, type LinkedMap, MapLink, type MapPart } from './map-link.js';
import type { EntryLink, HoldProcess, StateEntry } from './state-entry.js';
import { type StateMap, watch } from './state-map.js';

/** The most bytes of a map, where the service does not say. */
export const DEFAULT_MAP_BYTES = 4 * 1024 * 1024 * 1024;

/** How a map is handed over. */
export interface MapOptions<K, V> {
  /** The version of the entries; raise it when their meaning changes. Default 1. */
  readonly version?: number;
  /** The oldest version that `up` can read and `down` can write; default `version`. */
  readonly oldestVersion?: number;
  /** Converts an entry of an older version to this version. */
  up?(entry: [unknown, unknown], from: number): [K, V];
  /** Converts an entry of this version to an older version, for a rollback. */
  down?(entry: [K, V], to: number): [unknown, unknown];
  /** The maximum size in bytes; default 4 GiB. */
  readonly maxBytes?: number;
}

/** A map, given entry by entry. */
export class MapEntry<K, V> implements StateEntry, LinkedMap<K, V> {
  readonly name: string;
  readonly version: number;
  readonly oldestVersion: number;
  readonly maxBytes: number;
  readonly wantsLate = false;
  readonly isOnePart = false;
  readonly isOfTask: boolean = false;
  readonly entries: StateMap<K, V>;
  readonly #options: MapOptions<K, V>;
  /** Those that are told of changes. */
  #following = new Set<MapLink<K, V>>();
  /** Through which changes come just now: its other side knows them. */
  #source: MapLink<K, V> | undefined;

  constructor(name: string, map: StateMap<K, V>, options: MapOptions<K, V>) {
    this.name = name;
    this.version = options.version ?? 1;
    this.oldestVersion = options.oldestVersion ?? this.version;
    this.maxBytes = options.maxBytes ?? DEFAULT_MAP_BYTES;
    this.entries = map;
    this.#options = options;
  }

  get size(): number {
    return this.entries.size;
  }

  link(pid: number, hold: HoldProcess): EntryLink {
    return new MapLink(this, pid, hold);
  }

  follow(link: MapLink<K, V>): void {
    this.#following.add(link);
    watch(this.entries, {
      changed: (key) => {
        for (const each of this.#following) if (each !== this.#source) each.changed(key);
      },
      cleared: () => {
        for (const each of this.#following) if (each !== this.#source) each.cleared();
      },
    });
  }

  unfollow(link: MapLink<K, V>): void {
    this.#following.delete(link);
    if (this.#following.size === 0) watch(this.entries, undefined);
  }

  encode(entry: [K, V], version: number, _link: MapLink<K, V>): Entry {
    if (version === this.version) return entry;
    if (this.#options.down === undefined) throw this.#without('down', version);
    return this.#options.down(entry, version);
  }

  /** An entry as it came through this link. */
  protected decode(entry: Entry, version: number, _link: MapLink<K, V>): [K, V] {
    if (version === this.version) return entry as [K, V];
    if (this.#options.up === undefined) throw this.#without('up', version);
    return this.#options.up(entry, version);
  }

  take(
    { clear, set = [], delete: gone = [] }: MapPart,
    version: number,
    link: MapLink<K, V>,
    keeps: ReadonlySet<K>,
  ): void {
    const failures: unknown[] = [];
    // One that cannot be read keeps none of the others back.
    const decoded = (entry: Entry): [K, V] | undefined => {
      try {
        const one = this.decode(entry, version, link);
        return keeps.has(one[0]) ? undefined : one;
      } catch (cause) {
        failures.push(cause);
        return undefined;
      }
    };
    this.#source = link;
    try {
      if (clear) this.clear(keeps);
      for (const entry of set) {
        const one = decoded(entry);
        if (one === undefined) continue;
        this.entries.set(...one);
        link.isKnown(one[0]);
      }
      for (const entry of gone) {
        const one = decoded(entry);
        if (one === undefined) continue;
        const [key] = one;
        // Also where it is not here: others may have it.
        if (!this.entries.delete(key)) this.entries.touch(key);
        link.isKnown(key);
      }
    } finally {
      this.#source = undefined;
    }
    if (failures.length > 0) throw failures[0];
  }

  drop(): void {
    this.entries.clear();
  }

  /** Everything that is here is gone at the other side. @param keeps the keys of which it does not know yet. */
  protected clear(keeps: ReadonlySet<K>): void {
    if (keeps.size === 0) this.entries.clear();
    else for (const key of [...this.entries.keys()]) if (!keeps.has(key)) this.entries.delete(key);
  }

  #without(what: 'up' | 'down', version: number): MoultError {
    const told = `state ${this.name}: the predecessor and successor agreed on version ${version}, this release has version ${this.version} and no ${what}()`;
    return new MoultError('MOULT_STATE_FAILED', told);
  }
}
