import { MoultError } from '../errors.js';
import { MAX_TASKS } from '../protocol/limits.js';
import type { Runner } from './runners/runner.js';
import { type Given, Task } from './task.js';
import type { TaskLocks } from './task-locks.js';

/** The longest name of a task. */
const MAX_NAME = 256;

/** What this generation's tasks tell. */
export interface TaskEvents {
  /** One could not begin; it is tried again. */
  failed(error: MoultError): void;
  /** Nothing of a task ends or finishes here any more. */
  idle(): void;
}

/** The tasks of one generation, by their names. */
export class Tasks {
  readonly #locks: TaskLocks | undefined;
  readonly #events: TaskEvents;
  #tasks = new Map<string, Task>();
  #epoch: number | undefined;
  #waiting: (() => void)[] = [];

  /** @param locks undefined where generations have no folder in common. */
  constructor(locks: TaskLocks | undefined, events: TaskEvents) {
    this.#locks = locks;
    this.#events = events;
  }

  /** Adds one; it begins at once where this generation has begun its tasks already. @throws MOULT_BAD_OPTION */
  declare(runner: Runner): void {
    const { name } = runner;
    if (name.length === 0 || name.length > MAX_NAME) {
      throw bad(`expected a name of 1 to ${MAX_NAME} characters, received ${name.length}`);
    }
    if (this.#tasks.has(name)) throw bad(`${name} is already declared`);
    if (this.#tasks.size === MAX_TASKS) throw bad(`expected at most ${MAX_TASKS}`);
    const task = new Task(
      runner,
      this.#locks,
      (error) => this.#events.failed(error),
      () => this.check(),
    );
    this.#tasks.set(name, task);
    if (this.#epoch !== undefined) task.begin(this.#epoch);
  }

  /** Whether nothing ends or finishes here. */
  get isIdle(): boolean {
    return this.all().every((task) => task.isIdle);
  }

  names(): string[] {
    return [...this.#tasks.keys()];
  }

  all(): Task[] {
    return [...this.#tasks.values()];
  }

  get(name: string): Task | undefined {
    return this.#tasks.get(name);
  }

  /** Makes sure that all can begin. @throws MOULT_TASK_FAILED */
  async prepare(): Promise<void> {
    await Promise.all(
      this.all().map(async ({ name, runner }) => {
        try {
          await runner.prepare();
        } catch (cause) {
          const why = cause instanceof Error ? cause.message : String(cause);
          throw new MoultError('MOULT_TASK_FAILED', `${name} cannot start: ${why}`, { cause });
        }
      }),
    );
  }

  /** This generation has the tasks from now on: those that are declared later begin at once. */
  begun(epoch: number): void {
    this.#epoch = epoch;
  }

  /** Has all begin here: nobody else has them. */
  begin(epoch: number): void {
    this.begun(epoch);
    for (const task of this.all()) task.begin(epoch);
  }

  /**
   * Has one end here; what it leaves running is finished.
   * @param goesOn whether another generation has it next.
   * @returns what it was let go with, as soon as it may begin elsewhere.
   */
  letGo(task: Task, withinMs: number, goesOn: boolean): Promise<Given> {
    this.#epoch = undefined;
    return task.letGo(withinMs, goesOn);
  }

  /** Tells once more whether nothing ends here: something that has ended is with the other generation now. */
  check(): void {
    if (!this.isIdle) return;
    for (const go of this.#waiting.splice(0)) go();
    this.#events.idle();
  }

  /** Waits until nothing ends or finishes here, or the time is over. */
  async settled(withinMs: number): Promise<void> {
    if (this.isIdle) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /**
   * This process is about to end: tells what still ends here that its time is over, however long it was given.
   * @param withinMs how long it may take to heed that. @param then called at once where nothing ends here.
   */
  hurry(withinMs: number, then: () => void): void {
    if (this.isIdle) {
      then();
      return;
    }
    for (const task of this.all()) task.hurry();
    this.settled(withinMs).then(then);
  }

  /** Has all end here, for good. */
  end(withinMs: number): void {
    for (const task of this.all()) this.letGo(task, withinMs, false);
  }

  /** Closes what they have open. */
  async close(): Promise<void> {
    await Promise.allSettled(this.all().map(async ({ runner }) => runner.close()));
  }
}

function bad(what: string): MoultError {
  return new MoultError('MOULT_BAD_OPTION', `task: ${what}`);
}
