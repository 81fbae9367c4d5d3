import type { Entry, MapLink, MapPart } from '../../state/map-link.js';
import type { HeldProcess } from '../../state/state-entry.js';
import type { StateMap } from '../../state/state-map.js';
import { TaskMap } from '../task-map.js';

type Link = Pick<MapLink<string, unknown>, 'pid'>;

/** A generation that is not met here: the one at the other side of a link has told of it. */
export interface Elsewhere {
  readonly via: Link;
  /** Undefined where an older release of moult does not say. */
  readonly process: HeldProcess | undefined;
}

/** Who runs a job: nobody yet, this generation, that at the other side of a link, or one that is not met here. */
export type JobRunner = 'nobody' | 'here' | Link | Elsewhere;

/** A job that is not done. */
export interface Begun<T> {
  readonly data: T;
  readonly saved: unknown;
  readonly runner: JobRunner;
}

/** As it travels: who runs it, as its sender sees it. */
interface Sent<T> {
  readonly data: T;
  readonly saved: unknown;
  readonly runner: 'nobody' | 'sender' | 'receiver' | 'elsewhere';
  /** Of the process that runs it elsewhere. */
  readonly pid?: number;
}

/** The jobs of one name that are not done, and who runs them. */
export class JobsEntry<T> extends TaskMap<Begun<T>> {
  readonly keepsUnread = true;
  /** Those that run jobs and are not met here: each is held, so that its number means no other. */
  #others = new Map<number, HeldProcess>();

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
    return [id, { data: one.data, saved: one.saved, ...sentTo(link, one.runner) } satisfies Sent<T>];
  }

  /** Lets go of the processes that are not met here. */
  forgetOthers(): void {
    for (const other of this.#others.values()) other.close();
    this.#others.clear();
  }

  protected override decode(
    [key, sent]: Entry,
    _version: number,
    link: MapLink<string, Begun<T>>,
  ): [string, Begun<T>] {
    const id = key as string;
    if (sent === undefined) return [id, undefined as never];
    const { data, saved, runner, pid } = sent as Sent<T>;
    if (runner === 'nobody') return [id, { data, saved, runner }];
    if (runner === 'sender') return [id, { data, saved, runner: link }];
    return [id, { data, saved, runner: { via: link, process: this.#other(pid, link) } }];
  }

  #other(pid: number | undefined, { hold }: Pick<MapLink<string, unknown>, 'hold'>): HeldProcess | undefined {
    if (pid === undefined || pid <= 0) return undefined;
    const held = this.#others.get(pid) ?? hold(pid);
    if (held !== undefined) this.#others.set(pid, held);
    return held;
  }
}

function sentTo(link: Link, runner: JobRunner): Pick<Sent<unknown>, 'runner' | 'pid'> {
  if (runner === 'nobody') return { runner };
  if (runner === 'here') return { runner: 'sender' };
  if (runner === link) return { runner: 'receiver' };
  const pid = 'via' in runner ? runner.process?.pid : runner.pid;
  return { runner: 'elsewhere', ...(pid === undefined ? {} : { pid }) };
}
