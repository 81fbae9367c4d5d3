/*
 * Just over 300 lines: what is given, read and taken back of the tasks is one account.
 */
import { serialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import { asMoultError, MoultError } from '../errors.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import { MAX_ATTACHMENT_BYTES } from '../protocol/frame.js';
import type { StateEntry } from '../state/state-entry.js';
import type { Runner } from './runners/runner.js';
import type { Given, Task } from './task.js';
import type { Tasks } from './tasks.js';
import { untilEnded } from './until-ended.js';

/** What a task gives along goes in frames of so many bytes, where the other side puts them together. */
const FRAME_BYTES = 64 * 1024;
/**
 * How many bytes of them may be on their way. So many fit into the kernel, which keeps them if this process is killed; more
 * would hold up what late requests change, in the memory of this process.
 */
const WINDOW_BYTES = 128 * 1024;
/** At most so many bytes go to a side that does not say how much it has read. */
const MOST_UNREAD_BYTES = 12 * 1024 * 1024;

/**
 * How long one that has lost the other side lives on. Whoever took over from that one looks every 20 ms whether it is gone,
 * and leaves the jobs that run here to this one if it is there.
 */
const SEEN_MS = 2000;
const NOTHING: ReadonlySet<never> = new Set();

/** What is given as state: that of tasks, too. */
export interface GivenState {
  /** Whether the other side has this piece from here. */
  gives(piece: StateEntry): boolean;
  /** The keys of this piece of which the other side has not said that it has read them. */
  unread(piece: StateEntry): ReadonlySet<unknown>;
  /** Waits until all that has changed so far is on its way. */
  settled(): Promise<void>;
}

/** Gives tasks to the other side of a channel, each as soon as it has ended here, or has begun there. */
export class TaskGiver {
  /** Whether the other side puts what a task gives along together from parts. */
  takesParts = false;
  /** Whether the other side tells of all that it has read, not only of what goes on. */
  #tellsAll = false;
  #channel: Channel;
  #tasks: Tasks;
  #state: GivenState;
  #failed: (error: MoultError) => void;
  #theirs = new Set<string>();
  #withinMs = 0;
  /** Those that have ended here, or are about to. */
  #leaving = new Map<Task, Promise<Given>>();
  #given = new Map<string, Given>();
  /** How many are on their way. */
  #giving = 0;
  #onTheWay = 0;
  #waiting: (() => void)[] = [];
  #hasBegun = false;
  #isStopped = false;
  /** False where the other side is gone, and whoever takes over from that one may still look whether this one lives. */
  #isSeen = true;
  /** Whether what runs here has learned that the other side is gone. */
  #knowsOfEnd = false;

  /** Whether it is not decided yet who serves, where the other side is gone. */
  mayServeOn: () => boolean = () => false;

  /** @param failed told of what cannot be given. */
  constructor(channel: Channel, tasks: Tasks, state: GivenState, failed: (error: MoultError) => void) {
    this.#channel = channel;
    this.#tasks = tasks;
    this.#state = state;
    this.#failed = failed;
    channel.on('task-begun', ({ name }) => {
      const task = tasks.get(name);
      if (task?.runner.overlaps) this.#giveUp(task);
    });
    channel.on('task-read', ({ bytes }) => {
      this.#onTheWay = Math.max(0, this.#onTheWay - bytes);
      this.#makeRoom();
      if (this.#onTheWay === 0) tasks.check();
    });
  }

  /** Those that the other side will get: those of its own that this side has. */
  common(theirs: readonly string[]): string[] {
    return theirs.filter((name) => this.#tasks.get(name) !== undefined);
  }

  /** Those that the other side does not have. */
  left(theirs: readonly string[]): string[] {
    return this.#tasks.names().filter((name) => !theirs.includes(name));
  }

  /** Makes sure that what these have can be given. @throws MOULT_STATE_TOO_LARGE, MOULT_STATE_FAILED */
  check(theirs: readonly string[]): void {
    for (const name of this.common(theirs)) {
      const runner = this.#tasks.get(name)?.runner;
      if (runner !== undefined && !this.takesParts && !this.#isKnown(runner)) checkUnread(runner);
    }
  }

  /** Begins to give. @param theirs all that the other side has; the rest ends here. */
  begin(theirs: readonly string[], withinMs: number): void {
    this.#theirs = new Set(theirs);
    this.#withinMs = withinMs;
    this.#hasBegun = true;
    for (const task of this.#tasks.all()) {
      const waits = task.runner.overlaps && this.#theirs.has(task.name);
      if (!waits) this.#giveUp(task);
    }
    const taker = new ProcessHandle(this.#channel.peer.pid);
    this.#channel.closed.then(() => this.#closed(taker));
  }

  // Nobody is left who could begin first.
  async #closed(taker: ProcessHandle): Promise<void> {
    this.#knowsOfEnd = true;
    if (this.#isStopped) {
      taker.close();
      return;
    }
    // What overlaps runs on here where this generation may have to serve on: stopped first, it would miss what comes meanwhile.
    if (!this.mayServeOn()) for (const task of this.#tasks.all()) this.#giveUp(task);
    this.#makeRoom();
    const staying = this.#tasks.all().flatMap(({ runner }) => (runner.stay === undefined ? [] : runner));
    for (const one of staying) one.stay?.(NOTHING);
    this.#isSeen = staying.length === 0;
    setTimeout(() => {
      this.#isSeen = true;
      this.#tasks.check();
    }, SEEN_MS).unref();
    await untilEnded(taker, () => !this.#isSeen && !this.#isStopped);
    if (this.#isStopped) return;
    // What it has not read it can have done only while it lived.
    for (const one of staying)
      if (one.piece !== undefined && this.#isKnown(one)) one.stay?.(this.#state.unread(one.piece));
  }

  /** Gives timers and jobs to another slot, which has such tasks of its own; all others end here. */
  pass(theirs: readonly string[], withinMs: number): void {
    this.takesParts = true;
    this.#tellsAll = true;
    this.begin(
      theirs.filter((name) => this.#tasks.get(name)?.runner.parts !== undefined),
      withinMs,
    );
    // Theirs have begun long ago.
    for (const task of this.#tasks.all()) this.#giveUp(task);
  }

  /**
   * Those that are the other side's by now. One that overlaps has begun there when it is told to end here: the other
   * side keeps it until it has begun here again.
   */
  get given(): string[] {
    const ending = [...this.#leaving.keys()].filter(
      ({ runner, name }) => runner.overlaps && this.#theirs.has(name),
    );
    return [...new Set([...this.#given.keys(), ...ending.map(({ name }) => name)])];
  }

  /** What one was given with. */
  givenWith(name: string): Given | undefined {
    return this.#given.get(name);
  }

  /** Whether none is left that waits for the other side, or is on its way there. */
  get isOver(): boolean {
    if (!this.#hasBegun) return true;
    if (this.#isStopped) return this.#giving === 0;
    if (!this.#isSeen || (this.#channel.isClosed && !this.#knowsOfEnd)) return false;
    if (this.#tellsAll && this.#onTheWay > 0 && !this.#channel.isClosed) return false;
    return this.#giving === 0 && this.#tasks.all().every((task) => this.#leaving.has(task));
  }

  /** Gives no more: what has not been given stays. */
  stop(): void {
    this.#isStopped = true;
    for (const { runner } of this.#tasks.all()) if ('passOn' in runner) runner.passOn = undefined;
    this.#makeRoom();
  }

  /**
   * Has this generation go on with all that the other side will not give back.
   * @param returns the names of those that it will.
   * @param mayHaveBegun whether the other side may have begun what it was given; if not, a schedule goes on after its last run.
   */
  resume(epoch: number, returns: ReadonlySet<string>, mayHaveBegun = true): void {
    this.#tasks.begun(epoch);
    for (const [task, ended] of this.#leaving) {
      if (returns.has(task.name)) continue;
      const mayHaveRun = mayHaveBegun && this.#given.has(task.name);
      task.stay();
      ended.then(({ data, origin }) => task.begin(epoch, { data, origin: mayHaveRun ? 'again' : origin }));
    }
  }

  #isKnown({ piece }: Runner): boolean {
    return piece !== undefined && this.#state.gives(piece);
  }

  #giveUp(task: Task): void {
    if (this.#leaving.has(task) || this.#isStopped) return;
    const goesOn = this.#theirs.has(task.name) && !this.#channel.isClosed;
    const ended = this.#tasks.letGo(task, this.#withinMs, goesOn);
    this.#leaving.set(task, ended);
    this.#giving += 1;
    ended
      .then((given) => this.#give(task, given))
      .finally(() => {
        this.#giving -= 1;
        this.#tasks.check();
      });
  }

  async #give(task: Task, given: Given): Promise<void> {
    const { runner, name } = task;
    if (this.#isStopped || !this.#theirs.has(name)) return;
    if (this.#isKnown(runner)) {
      // What became of it here is known there before it begins there.
      await this.#state.settled();
      if (this.#isStopped) return;
      this.#given.set(name, given);
      this.#channel.send({ type: 'task-given', name }, [], serialize(undefined));
      return;
    }
    if (runner.parts === undefined) {
      if (await this.#send(name, given.origin === 'nobody' ? undefined : given.data))
        this.#given.set(name, given);
      return;
    }
    let isLate = false;
    for (const part of runner.parts()) {
      await this.#send(name, part, isLate);
      this.#given.set(name, given);
      isLate = true;
      if (this.#isStopped) return;
    }
    runner.passOn = (more) => void this.#send(name, more, true);
  }

  /** @returns whether it is on its way; else no more is given. */
  async #send(name: string, data: unknown, late = false): Promise<boolean> {
    let bytes = serialize(undefined);
    try {
      bytes = this.#encode(name, data);
    } catch (cause) {
      const error = asMoultError(cause, 'MOULT_TASK_FAILED');
      process.emitWarning(error.message, 'MoultWarning');
      // Where there is a way back it is taken: nothing is lost then.
      if (!late) this.#failed(error);
      if (this.#isStopped || late) return false;
    }
    const beside = late ? { late } : {};
    for (let at = 0; at + FRAME_BYTES < bytes.length && this.takesParts; at += FRAME_BYTES) {
      await this.#hasRoom();
      if (this.#isStopped) return false;
      this.#onTheWay += FRAME_BYTES;
      this.#channel.send(
        { type: 'task-given', name, ...beside, goesOn: true },
        [],
        bytes.subarray(at, at + FRAME_BYTES),
      );
    }
    const rest = this.takesParts
      ? bytes.subarray(Math.floor((bytes.length - 1) / FRAME_BYTES) * FRAME_BYTES)
      : bytes;
    if (this.#tellsAll) {
      await this.#hasRoom();
      if (this.#isStopped) return false;
      this.#onTheWay += rest.length;
    }
    this.#channel.send({ type: 'task-given', name, ...beside }, [], rest);
    return true;
  }

  #encode(name: string, data: unknown): ReturnType<typeof serialize> {
    let bytes: ReturnType<typeof serialize>;
    try {
      bytes = serialize(data);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new MoultError(
        'MOULT_TASK_FAILED',
        `the data that task ${name} hands over cannot be cloned: ${why}`,
        {
          cause,
        },
      );
    }
    if (!this.takesParts && bytes.length > MAX_ATTACHMENT_BYTES)
      throw tooLarge(name, bytes.length, MAX_ATTACHMENT_BYTES);
    return bytes;
  }

  async #hasRoom(): Promise<void> {
    while (this.#onTheWay >= WINDOW_BYTES && !this.#isStopped && !this.#channel.isClosed)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #makeRoom(): void {
    for (const go of this.#waiting.splice(0)) go();
  }
}

function checkUnread({ name, parts }: Runner): void {
  let sum = 0;
  for (const part of parts?.() ?? []) {
    const { length } = serialize(part);
    if (length > MAX_ATTACHMENT_BYTES) throw tooLarge(name, length, MAX_ATTACHMENT_BYTES);
    sum += length;
  }
  if (sum > MOST_UNREAD_BYTES) throw tooLarge(name, sum, MOST_UNREAD_BYTES);
}

function tooLarge(name: string, bytes: number, limit: number): MoultError {
  const told = `task ${name}: expected at most ${limit} bytes for the moult of the other generation, which takes no parts, it has ${bytes}`;
  return new MoultError('MOULT_STATE_TOO_LARGE', told);
}
