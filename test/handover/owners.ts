import type { MoultError } from '#moult/errors.js';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import type { Predecessor } from '#moult/handover/predecessor.js';
import type { Successor } from '#moult/handover/successor.js';
import { ProcessHandle } from '#moult/os/unix-sockets/peer.js';
import { MapEntry } from '#moult/state/map-entry.js';
import { StateEntries } from '#moult/state/state-entries.js';
import { StateMap } from '#moult/state/state-map.js';
import { ValueEntry } from '#moult/state/value-entry.js';
import { type Job, JobsRunner } from '#moult/tasks/runners/jobs-runner.js';
import { TimersRunner } from '#moult/tasks/runners/timers-runner.js';
import { Tasks } from '#moult/tasks/tasks.js';
import type { End } from '../support/end.js';
import { bothEnds, ModelListener, surroundings } from './surroundings.js';

/** How many parts each job has. */
export const PARTS = 3;

/** What services were told that it is done, and what they did. */
export class Record {
  readonly set = new Set<string>();
  readonly cleared = new Set<string>();
  readonly fired = new Map<string, number>();
  readonly started = new Set<string>();
  readonly parts = new Map<string, number[]>();
  readonly done = new Map<string, number>();
  readonly keys = new Set<number>();
  count = 0;
  /** What must not be. */
  readonly wrong: string[] = [];
  /** Whether anything was killed; then values of which only the killed one knew are gone. */
  wasKilled = false;
  /** Whether one was killed that had not given its value away: what only it knew is gone. */
  hasLostValues = false;
  /** Changes made in one that was killed later, of which those of its value may not have been told. */
  readonly ofKilled = new Set<number>();
  /** Whether one was killed that had accepted in probation: what it set in maps is gone. */
  hasLostMaps = false;
  /** Whether one was killed of which nobody had a copy: all is gone. */
  hasLostAll = false;
  /**
   * Timers, jobs and keys of which nobody who lives can know: whoever changed them was killed, and whoever was told of them,
   * before it had read that.
   */
  readonly untold = new Set<string>();
  /** Timers and jobs that ran in one that was killed when nobody heard of what it did: that is done once more, or never. */
  readonly mayRepeat = new Set<string>();
  /** Who changed each last. */
  readonly last = new Map<string, Owner>();
  /** Who runs each job. */
  readonly runs = new Map<string, Owner>();
}

/** One generation in this process, with a service that has timers, jobs, a value and a map. */
export class Owner {
  readonly number: number;
  readonly pid: number;
  readonly context: GenerationContext;
  readonly predecessor: Predecessor;
  readonly successor: Successor;
  readonly lifeline: [End, End];
  readonly timers: TimersRunner<string>;
  readonly jobs: { readonly stay: JobsRunner<string>; readonly move: JobsRunner<string> };
  readonly map = new StateMap<number, number>();
  readonly #record: Record;
  readonly listener = new ModelListener();
  isAlive = true;
  isReady = false;
  /** Whether it has said that it needs its predecessor no more. */
  isProved = false;
  asked: 'not' | 'waits' | 'has it' = 'not';
  wasKilled = false;
  /** Whether it has given all away, and who has it was killed: jobs that it still runs are known to nobody else. */
  isCutOff = false;
  /** What was changed, and what was done, here in an undo: nobody else is told of it before this one serves again. */
  readonly inUndo = { changed: new Set<string>(), done: new Set<string>() };
  counter = { count: 0 };
  /** What was changed here of the map and the value. */
  readonly changes = new Set<number>();
  /** Towards the generation before: the ends of this side, and of that. */
  giver: [End, End] | undefined;
  /** Towards generations that still tell the one before: the ends of this side, and of theirs. */
  readonly fallbacks: [End, End][] = [];
  source: Owner | undefined;
  #waiting: (() => void)[] = [];

  constructor(
    number: number,
    record: Record,
    died: (owner: Owner) => void,
    meet: (owner: Owner, door: string) => [End, End] | undefined,
  ) {
    this.number = number;
    this.#record = record;
    // No process can have such a number.
    this.pid = 2 ** 30 + number;
    const state = new StateEntries((pid) => new ProcessHandle(pid));
    state.declare(new MapEntry('map', this.map, {}));
    state.declare(
      new ValueEntry('counter', {
        save: () => this.counter,
        restore: (value) => {
          this.counter = value;
        },
        late: (atEnd, atHandover) => {
          this.counter.count += atEnd.count - atHandover.count;
        },
      }),
    );
    const failed = (error: MoultError) => record.wrong.push(String(error.stack));
    const tasks = new Tasks(undefined, { failed, idle: () => this.predecessor.feedEnded() });
    this.timers = new TimersRunner('timers', (id) => this.#fire(id));
    const run = (job: Job<string>) => this.#work(job);
    this.jobs = {
      stay: new JobsRunner('stay', run, {}),
      move: new JobsRunner('move', run, { changeover: 'move' }),
    };
    for (const runner of [this.timers, this.jobs.stay, this.jobs.move]) {
      tasks.declare(runner);
      state.declare(runner.piece);
    }
    this.context = this.#asContext(state, tasks, meet);
    const ends = bothEnds(this.context, this.pid, { drained: () => died(this) });
    this.predecessor = ends.predecessor;
    this.successor = ends.successor;
    this.lifeline = ends.lifeline;
  }

  get accepts(): boolean {
    return this.isAlive && this.listener.state === 'open';
  }

  /** Whether requests may still be in progress here. */
  get hasServed(): boolean {
    return this.isAlive && this.successor.isCommitted && this.predecessor.state !== 'ended';
  }

  set(id: string, ms: number): void {
    this.#changes(id);
    this.#record.set.add(id);
    this.timers.set(id, ms, id);
  }

  clear(id: string): void {
    this.#changes(id);
    this.#record.cleared.add(id);
    this.timers.clear(id);
  }

  start(kind: 'stay' | 'move', name: string): void {
    this.#changes(name);
    this.#record.started.add(name);
    this.jobs[kind].start(name);
  }

  change(): void {
    this.#record.count += 1;
    this.#record.keys.add(this.#record.count);
    this.changes.add(this.#record.count);
    this.#changes(`key ${this.#record.count}`);
    this.counter.count += 1;
    this.map.set(this.#record.count, this.number);
  }

  /** Has each job that runs here do its next part. */
  step(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  #changes(what: string): void {
    this.#record.last.set(what, this);
    if (this.predecessor.state === 'undoing') this.inUndo.changed.add(what);
  }

  #does(what: string): void {
    if (this.predecessor.state === 'undoing') this.inUndo.done.add(what);
  }

  #fire(id: string): void {
    if (!this.isAlive) return;
    const { fired, cleared, untold, wrong } = this.#record;
    fired.set(id, (fired.get(id) ?? 0) + 1);
    this.#does(id);
    if (cleared.has(id) && !untold.has(id) && !Owner.isOnTheWay())
      wrong.push(`${id} was run by ${this.number} after it was cleared`);
  }

  async #work({ data: name, saved, signal, save }: Job<string>): Promise<void> {
    // Whoever is killed does nothing more.
    if (!this.isAlive) await new Promise(() => {});
    this.#record.runs.set(name, this);
    for (let part = Number(saved ?? 0); part < PARTS; part += 1) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (!this.isAlive) await new Promise(() => {});
      this.#does(name);
      signal.throwIfAborted();
      this.#record.parts.set(name, [...(this.#record.parts.get(name) ?? []), part]);
      save(part + 1);
    }
    this.#record.done.set(name, (this.#record.done.get(name) ?? 0) + 1);
  }

  /** Whether anything that one side has said is still to be heard by another. */
  static isOnTheWay: () => boolean = () => false;

  #asContext(
    state: StateEntries,
    tasks: Tasks,
    meet: (owner: Owner, door: string) => [End, End] | undefined,
  ): GenerationContext {
    return surroundings({
      listeners: this.listener.registry,
      state,
      tasks,
      epoch: this.number,
      isBeingFed: () => this.successor.isBeingFed || this.predecessor.isBeingFed,
      fallbacks: {
        own: `door ${this.number}`,
        earlier: () => [...this.successor.earlierDoors, ...this.predecessor.feeds.earlierDoors],
        open: async (door) => {
          const ends = meet(this, door);
          if (ends !== undefined) this.fallbacks.push(ends);
          return ends?.[0].channel;
        },
      },
    });
  }
}
