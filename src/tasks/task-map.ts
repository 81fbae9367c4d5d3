import { createHash } from 'node:crypto';
import { MapEntry } from '../state/map-entry.js';
import type { MapLink, MapPart } from '../state/map-link.js';
import type { StateMap } from '../state/state-map.js';

/** The longest name of a piece. */
const MAX_PIECE_NAME = 256;

/**
 * What a task has, by an id each, as a piece of state: both generations of a handover know it at any time, and one of
 * them acts on it.
 */
export class TaskMap<V> extends MapEntry<string, V> {
  override readonly isOfTask = true;
  readonly task: { readonly kind: 'timers' | 'jobs'; readonly name: string };
  readonly #taken: (id: string) => void;
  #own = new Set<string>();

  /**
   * @param kind of the task.
   * @param taken told of each id of which the other generation has told something.
   */
  constructor(kind: 'timers' | 'jobs', task: string, map: StateMap<string, V>, taken: (id: string) => void) {
    super(nameOf(kind, task), map, { maxBytes: Number.POSITIVE_INFINITY });
    this.task = { kind, name: task };
    this.#taken = taken;
  }

  /** The ids that were changed here before it began here: they are newer than what comes from elsewhere. */
  get own(): ReadonlySet<string> {
    return this.#own;
  }

  /** This id was changed here before it began here. */
  noteOwn(id: string): void {
    this.#own.add(id);
  }

  /** It has begun here. */
  begun(): void {
    this.#own.clear();
  }

  override follow(link: MapLink<string, V>): void {
    super.follow(link);
    for (const id of this.#own) link.changed(id);
  }

  override take(part: MapPart, version: number, link: MapLink<string, V>, keeps: ReadonlySet<string>): void {
    try {
      super.take(part, version, link, this.#own.size === 0 ? keeps : new Set([...keeps, ...this.#own]));
    } finally {
      for (const [id] of [...(part.set ?? []), ...(part.delete ?? [])]) this.#taken(id as string);
    }
  }
}

function nameOf(kind: string, task: string): string {
  const name = `moult/${kind}/${task}`;
  if (name.length <= MAX_PIECE_NAME) return name;
  return `moult/${kind}/${createHash('sha256').update(task).digest('hex')}`;
}
