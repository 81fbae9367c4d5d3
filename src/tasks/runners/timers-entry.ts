import { monotonicMs } from '../../os/clock.js';
import type { Entry, MapLink, MapPart } from '../../state/map-link.js';
import type { StateMap } from '../../state/state-map.js';
import { TaskMap } from '../task-map.js';

/** How long it is remembered that a timer is gone: longer than a change is on its way from the other generation. */
const REMEMBERED_MS = 60_000;

/** A timer that waits. */
export interface Waiting<T> {
  /** When it is due; milliseconds of the wall clock. */
  readonly dueMs: number;
  readonly data: T;
  /** When it was set; milliseconds of the monotonic clock that all processes share. 0 where that is not known. */
  readonly setAtMs: number;
}

/**
 * The timers of one name that wait. Requests may set and clear the same one in both generations at once: whatever was last by
 * the clock that both share holds, in whichever order they hear of it.
 */
export class TimersEntry<T> extends TaskMap<Waiting<T>> {
  /** Those that are gone, in all that was set until then; and since when that is known here. The oldest is first. */
  #gone = new Map<string, { readonly upToMs: number; readonly sinceMs: number }>();

  constructor(task: string, map: StateMap<string, Waiting<T>>, taken: (id: string) => void) {
    super('timers', task, map, taken);
  }

  /** This one is gone, in all that was set until then. @param nowMs of the monotonic clock. */
  isGone(id: string, upToMs: number, nowMs: number): void {
    this.#gone.delete(id);
    this.#gone.set(id, { upToMs, sinceMs: nowMs });
    for (const [old, { sinceMs }] of this.#gone) {
      if (sinceMs > nowMs - REMEMBERED_MS) break;
      this.#gone.delete(old);
    }
  }

  override encode([id, one]: [string, Waiting<T> | undefined]): Entry {
    return [id, one ?? this.#gone.get(id)?.upToMs];
  }

  override take(
    { set = [], delete: gone = [], ...rest }: MapPart,
    version: number,
    link: MapLink<string, Waiting<T>>,
    keeps: ReadonlySet<string>,
  ): void {
    const newer = set.filter(([id, one]) => (one as Waiting<T>).setAtMs > this.#lastMs(id as string));
    const after = gone.filter(([id, atMs]) => typeof atMs !== 'number' || atMs >= this.#lastMs(id as string));
    const now = [...newer, ...after].map(([id]) => id as string);
    const others = new Set(keeps);
    for (const id of now) others.delete(id);
    super.take({ ...rest, set: newer, delete: after }, version, link, others);
    for (const [id, atMs] of after)
      if (typeof atMs === 'number') this.isGone(id as string, atMs, monotonicMs());
  }

  #lastMs(id: string): number {
    return this.entries.get(id)?.setAtMs ?? this.#gone.get(id)?.upToMs ?? -1;
  }
}
