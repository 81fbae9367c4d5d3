import { serialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import { asMoultError } from '../errors.js';
import { MAX_ATTACHMENT_BYTES } from '../protocol/frame.js';
import type { Given, Task } from './task.js';
import type { Tasks } from './tasks.js';

/** Gives tasks to the other side of a channel, each as soon as it has ended here, or has begun there. */
export class TaskGiver {
  #channel: Channel;
  #tasks: Tasks;
  #theirs = new Set<string>();
  #withinMs = 0;
  /** Those that have ended here, or are about to. */
  #leaving = new Map<Task, Promise<Given>>();
  #given = new Set<string>();
  #hasBegun = false;
  #isStopped = false;

  constructor(channel: Channel, tasks: Tasks) {
    this.#channel = channel;
    this.#tasks = tasks;
    channel.on('task-begun', ({ name }) => {
      const task = tasks.get(name);
      if (task?.holding.overlaps) this.#giveUp(task);
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

  /** Begins to give. @param theirs all that the other side has; the rest ends here. */
  begin(theirs: readonly string[], withinMs: number): void {
    this.#theirs = new Set(theirs);
    this.#withinMs = withinMs;
    this.#hasBegun = true;
    for (const task of this.#tasks.all()) {
      const waits = task.holding.overlaps && this.#theirs.has(task.name);
      if (!waits) this.#giveUp(task);
    }
    // Nobody is left who could begin first.
    this.#channel.closed.then(() => {
      if (!this.#isStopped) for (const task of this.#tasks.all()) this.#giveUp(task);
    });
  }

  /** Those that are the other side's by now. */
  get given(): string[] {
    return [...this.#given];
  }

  /** Whether none is left that waits for the other side. */
  get isOver(): boolean {
    return !this.#hasBegun || this.#tasks.all().every((task) => this.#leaving.has(task));
  }

  /** Gives no more: what has not been given stays. */
  stop(): void {
    this.#isStopped = true;
    for (const { holding } of this.#tasks.all()) holding.passOn = undefined;
  }

  /**
   * Has this generation go on with all that the other side will not give back.
   * @param returns the names of those that it will.
   */
  resume(epoch: number, returns: ReadonlySet<string>): void {
    this.#tasks.begun(epoch);
    for (const [task, ended] of this.#leaving) {
      if (returns.has(task.name)) continue;
      const wasGiven = this.#given.has(task.name);
      ended.then(({ data, origin }) => task.begin(epoch, { data, origin: wasGiven ? 'again' : origin }));
    }
  }

  #giveUp(task: Task): void {
    if (this.#leaving.has(task) || this.#isStopped) return;
    const ended = this.#tasks.letGo(task, this.#withinMs);
    this.#leaving.set(task, ended);
    ended.then(({ data, origin }) => {
      if (this.#isStopped || !this.#theirs.has(task.name)) return;
      this.#given.add(task.name);
      this.#send(task.name, origin === 'nobody' ? undefined : data);
      task.holding.passOn = (more) => this.#send(task.name, more, true);
    });
  }

  #send(name: string, data: unknown, late = false): void {
    let bytes = serialize(undefined);
    try {
      const all = serialize(data);
      if (all.length > MAX_ATTACHMENT_BYTES) {
        throw new Error(`expected at most ${MAX_ATTACHMENT_BYTES} bytes, it gave ${all.length}`);
      }
      bytes = all;
    } catch (cause) {
      const { message } = asMoultError(cause, 'MOULT_TASK_FAILED');
      process.emitWarning(`what task ${name} gave along is lost: ${message}`, 'MoultWarning');
    }
    this.#channel.send({ type: 'task-given', name, ...(late ? { late } : {}) }, [], bytes);
  }
}
