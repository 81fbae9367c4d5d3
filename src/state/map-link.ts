import { inspect } from 'node:util';
import { asMoultError, MoultError } from '../errors.js';
import type { EntryLink, HoldProcess, Parts } from './state-entry.js';

/** A part holds about so many bytes: serializing it must not hold up the service. */
const PART_BYTES = 256 * 1024;
/** How many entries the first part has; from its size follows how many the next may have. */
const FIRST_ENTRIES = 32;
const MOST_ENTRIES = 20_000;

/** An entry of a map, as it travels. */
export type Entry = [unknown, unknown];

/** Some of a map, as it travels: what is cleared, then set, then deleted. */
export interface MapPart {
  readonly clear?: true;
  readonly set?: readonly Entry[];
  /** Keys, each with the value undefined, so that a migration sees an entry. */
  readonly delete?: readonly Entry[];
}

/** What a link needs of its map. */
export interface LinkedMap<K, V> {
  readonly entries: ReadonlyMap<K, V>;
  /** Has this link told of all changes from now on, except those that it takes. */
  follow(link: MapLink<K, V>): void;
  unfollow(link: MapLink<K, V>): void;
  /** An entry as it travels to the other side of this link. */
  encode(entry: [K, V], version: number, link: MapLink<K, V>): Entry;
  /** Takes a part that came through this link. @param keeps the keys that stay as they are. */
  take(part: MapPart, version: number, link: MapLink<K, V>, keeps: ReadonlySet<K>): void;
}

const NONE: ReadonlySet<never> = new Set();

/** A map and one other side: the keys that it was not told of. */
export class MapLink<K, V> implements EntryLink {
  /** Of the process at the other side; 0 where it has no number here. */
  readonly pid: number;
  /** Holds another process, of which that one tells. */
  readonly hold: HoldProcess;
  readonly #map: LinkedMap<K, V>;
  /** The keys that have changed; undefined while nothing is noted. */
  #changed: Set<K> | undefined;
  #wasCleared = false;
  /** Those of them that {@link rest} is just telling, and has not told yet. */
  #leaving = new Set<K>();
  /** Keys on their way, and when the other side has them: in bytes that it has read. */
  #onTheWay: { readonly keys: readonly K[]; readonly wasCleared?: true; upTo: number }[] = [];
  #hasCopied = false;
  #onChange: () => void = () => {};

  constructor(map: LinkedMap<K, V>, pid: number, hold: HoldProcess) {
    this.#map = map;
    this.pid = pid;
    this.hold = hold;
  }

  get changes(): number {
    return (this.#changed?.size ?? 0) + this.#leaving.size + (this.#wasCleared ? 1 : 0);
  }

  *copy(version: number): Parts {
    this.note();
    this.#hasCopied = true;
    yield { clear: true } satisfies MapPart;
    // The iterator goes on over what is set meanwhile, and leaves out what is deleted before it comes there.
    yield* inParts(this.#map.entries.entries(), {
      partOf: (entries) => ({ set: entries.map((entry) => this.#map.encode(entry, version, this)) }),
      keyOf: ([key]) => key,
    });
  }

  *rest(version: number): Parts {
    const changed = this.#changed;
    if (changed === undefined) {
      yield* this.copy(version);
      return;
    }
    const wasCleared = this.#wasCleared;
    for (const key of this.#leaving) changed.add(key);
    this.#leaving = changed;
    this.#changed = new Set();
    this.#wasCleared = false;
    if (wasCleared) {
      this.#onTheWay.push({ keys: [], wasCleared, upTo: Number.POSITIVE_INFINITY });
      yield { clear: true } satisfies MapPart;
    }
    yield* inParts(changed.values(), {
      partOf: (keys) => {
        this.#onTheWay.push({ keys, upTo: Number.POSITIVE_INFINITY });
        for (const key of keys) changed.delete(key);
        return this.#partOf(keys, version);
      },
      keyOf: (key) => key,
      cannotGo: (keys) => {
        this.#onTheWay = this.#onTheWay.filter((part) => part.keys !== keys);
        // Alone it never will; the others are told of next.
        if (keys.length > 1) for (const key of keys) changed.add(key);
      },
    });
  }

  note(onChange: () => void = () => {}): void {
    this.#changed ??= new Set();
    this.#onChange = onChange;
    this.#map.follow(this);
  }

  forget(): void {
    this.#map.unfollow(this);
    this.#changed = undefined;
    this.#wasCleared = false;
    this.#hasCopied = false;
    this.#leaving = new Set();
    this.#onTheWay = [];
  }

  goOn(former: EntryLink): void {
    if (!(former instanceof MapLink)) return;
    const { unread, isClearUnread } = former as MapLink<K, V>;
    this.note();
    this.#changed = new Set(unread);
    this.#wasCleared = isClearUnread;
  }

  // What changes late is told as it changes.
  *late(): Parts {}

  // The one that gave it away is right where both have changed a key at once: that is what the other one learns next.
  take(part: unknown, version: number): void {
    this.#map.take(part as MapPart, version, this, this.#hasCopied ? this.unread : NONE);
  }

  sent(upTo: number): void {
    const last = this.#onTheWay.at(-1);
    if (last !== undefined && last.upTo === Number.POSITIVE_INFINITY) last.upTo = upTo;
  }

  get unread(): ReadonlySet<K> {
    return new Set([
      ...(this.#changed ?? []),
      ...this.#leaving,
      ...this.#onTheWay.flatMap(({ keys }) => keys),
    ]);
  }

  /** Whether the other side has not read that all keys were gone. */
  get isClearUnread(): boolean {
    return this.#wasCleared || this.#onTheWay.some(({ wasCleared }) => wasCleared === true);
  }

  read(upTo: number): void {
    while ((this.#onTheWay[0]?.upTo ?? Number.POSITIVE_INFINITY) <= upTo) this.#onTheWay.shift();
  }

  /** A key has changed here. */
  changed(key: K): void {
    this.#changed?.add(key);
    this.#onChange();
  }

  /** All keys are gone here. */
  cleared(): void {
    this.#changed?.clear();
    this.#wasCleared = true;
    this.#onChange();
  }

  /** The other side has this key as it is here. */
  isKnown(key: K): void {
    this.#changed?.delete(key);
  }

  // A key may have changed once more since it was noted: its value is the one of now, and it is noted again.
  #partOf(keys: readonly K[], version: number): MapPart {
    const set: Entry[] = [];
    const gone: Entry[] = [];
    const { entries } = this.#map;
    for (const key of keys) {
      const value = entries.get(key);
      if (entries.has(key)) set.push(this.#map.encode([key, value as V], version, this));
      else gone.push(this.#map.encode([key, undefined as V], version, this));
    }
    return { set, delete: gone };
  }
}

/** How entries of a map are sent. */
interface Sending<T> {
  partOf(some: readonly T[]): MapPart;
  keyOf(one: T): unknown;
  /** These cannot be sent together. */
  cannotGo?(some: readonly T[]): void;
}

function* inParts<T>(all: Iterator<T>, sending: Sending<T>): Parts {
  let entries = FIRST_ENTRIES;
  for (;;) {
    const some: T[] = [];
    while (some.length < entries) {
      const { done, value } = all.next();
      if (done) break;
      some.push(value);
    }
    if (some.length === 0) return;
    const bytes = yield* together(some, sending);
    const fitting = Math.ceil((some.length * PART_BYTES) / Math.max(1, bytes));
    entries = Math.max(1, Math.min(fitting, entries * 4, MOST_ENTRIES));
  }
}

/**
 * Of those that cannot be sent together each half goes by itself: one that cannot go keeps none of the others back, and is
 * named. @returns how many bytes they had.
 */
function* together<T>(some: readonly T[], sending: Sending<T>): Generator<MapPart, number, number> {
  try {
    return yield sending.partOf(some);
  } catch (cause) {
    sending.cannotGo?.(some);
    if (some.length === 1)
      throw withKey(asMoultError(cause, 'MOULT_STATE_FAILED'), sending.keyOf(some[0] as T));
  }
  const half = Math.ceil(some.length / 2);
  const first = yield* together(some.slice(0, half), sending);
  return first + (yield* together(some.slice(half), sending));
}

function withKey(cause: MoultError, key: unknown): MoultError {
  const name = inspect(key, { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 100 });
  return new MoultError(cause.code, `${cause.message} (the entry ${name})`, { cause });
}
