/** Is told of every change of a {@link StateMap}. */
export interface MapWatcher<K> {
  changed(key: K): void;
  cleared(): void;
}

/** By map, so that the map itself shows nothing of it. */
const watchers = new WeakMap<StateMap<unknown, unknown>, MapWatcher<never>>();

/**
 * A `Map` of any size that is handed over entry by entry: moult copies it while the service runs, and at the
 * handover sends only later changes. If you change a value in place, call {@link StateMap.touch}.
 */
export class StateMap<K, V> extends Map<K, V> {
  /** Sets an entry and marks it as changed. */
  override set(key: K, value: V): this {
    super.set(key, value);
    watcherOf(this)?.changed(key);
    return this;
  }

  /** Deletes an entry. @returns whether it was there. */
  override delete(key: K): boolean {
    const wasThere = super.delete(key);
    if (wasThere) watcherOf(this)?.changed(key);
    return wasThere;
  }

  /** Deletes all entries. */
  override clear(): void {
    super.clear();
    watcherOf(this)?.cleared();
  }

  /** Marks the value of this key as changed in place. */
  touch(key: K): void {
    watcherOf(this)?.changed(key);
  }
}

// Map's own constructor calls set() before there is anything to ask: a WeakMap can be asked at any time.
function watcherOf<K, V>(map: StateMap<K, V>): MapWatcher<K> | undefined {
  return watchers.get(map as StateMap<unknown, unknown>) as MapWatcher<K> | undefined;
}

/** Has changes of this map told to one watcher; undefined for none. */
export function watch<K, V>(map: StateMap<K, V>, watcher: MapWatcher<K> | undefined): void {
  if (watcher === undefined) watchers.delete(map as StateMap<unknown, unknown>);
  else watchers.set(map as StateMap<unknown, unknown>, watcher as unknown as MapWatcher<never>);
}
