import type { Entry, MapLink, MapPart } from '../../state/map-link.js';
import type { StateMap } from '../../state/state-map.js';
import { TaskMap } from '../task-map.js';

/** Who runs a job: nobody yet, this generation, that at the other side of a link, or one that is not met here. */
export type Runner = 'nobody' | 'here' | 'elsewhere' | object;

/** A job that is not done. */
export interface Begun<T> {
  readonly data: T;
  readonly saved: unknown;
  readonly runner: Runner;
}

/** As it travels: who runs it, as its sender sees it. */
interface Sent<T> {
  readonly data: T;
  readonly saved: unknown;
  readonly runner: 'nobody' | 'sender' | 'receiver' | 'elsewhere';
}

/** The jobs of one name that are not done, and who runs them. */
export class JobsEntry<T> extends TaskMap<Begun<T>> {
  constructor(task: string, map: StateMap<string, Begun<T>>, taken: (id: string) => void) {
    super('jobs', task, map, taken);
  }

  // What runs here, its sender cannot know better.
  override take(
    part: MapPart,
    version: number,
    link: MapLink<string, Begun<T>>,
    keeps: ReadonlySet<string>,
  ): void {
    const running = [...this.entries].flatMap(([id, { runner }]) => (runner === 'here' ? [id] : []));
    super.take(part, version, link, running.length === 0 ? keeps : new Set([...keeps, ...running]));
  }

  override encode(
    [id, one]: [string, Begun<T> | undefined],
    _version: number,
    link: MapLink<string, Begun<T>>,
  ): Entry {
    if (one === undefined) return [id, undefined];
    return [id, { data: one.data, saved: one.saved, runner: sentTo(link, one.runner) } satisfies Sent<T>];
  }

  protected override decode(
    [key, sent]: Entry,
    _version: number,
    link: MapLink<string, Begun<T>>,
  ): [string, Begun<T>] {
    const id = key as string;
    if (sent === undefined) return [id, undefined as never];
    const { data, saved, runner } = sent as Sent<T>;
    return [
      id,
      { data, saved, runner: runner === 'sender' ? link : runner === 'nobody' ? 'nobody' : 'elsewhere' },
    ];
  }
}

function sentTo(link: object, runner: Runner): Sent<unknown>['runner'] {
  if (runner === 'here') return 'sender';
  if (runner === link) return 'receiver';
  return runner === 'nobody' ? 'nobody' : 'elsewhere';
}
