import type { Channel } from '../channel/channel.js';
import { asMoultError, type MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import type { Want } from '../state/state-entry.js';
import { StateGiver } from '../state/state-giver.js';
import type { Given } from '../tasks/task.js';
import { TaskGiver } from '../tasks/task-giver.js';
import type { Tasks } from '../tasks/tasks.js';
import type { GenerationContext } from './generation-context.js';

/**
 * How long the other side, and whoever comes in its place, may take in all to read what was said last, before this process
 * ends: with the time that tasks have to heed their end less than the supervisor waits before it kills (`--stop-timeout`, 10 s).
 */
const READ_MS = 8000;

/** No state goes to another slot. */
const NO_STATE = { gives: () => false, unread: () => new Set(), settled: async () => {} };

/** Gives what a slot that ends has of timers and jobs to another one. @returns what tells when that has all. */
export function passTasks(
  channel: Channel,
  tasks: Tasks,
  theirs: readonly string[],
  withinMs: number,
): Pick<Giving, 'isOver'> {
  const giver = new TaskGiver(channel, tasks, NO_STATE, () => {});
  giver.pass(theirs, withinMs);
  return giver;
}

/** A later generation, which takes what this side tells of state if the other side is gone. */
interface Fallback {
  readonly channel: Channel;
  readonly wants: readonly Want[];
}

/** Gives state and tasks to the other side of a handover. Where there are none, everything is done at once. */
export class Giving {
  readonly #context: GenerationContext;
  readonly #tasks: TaskGiver;
  readonly #ownTasks: Tasks;
  /** What gives to the other side; where that is gone, to a fallback. */
  #state: StateGiver;
  /** The oldest is first: it is the next one that this side would have given to. */
  #fallbacks: Fallback[] = [];
  #hasBegun = false;
  #isStopped = false;
  #waiting: NodeJS.Timeout | undefined;
  #hasWaited = false;
  /** When nobody is waited for any more, by `performance.now()`. */
  #readUntilMs: number | undefined;

  /** @param failed told when the other side can never have what it wants. */
  constructor(channel: Channel, context: GenerationContext, failed: (error: MoultError) => void = () => {}) {
    this.#context = context;
    this.#state = this.#giverTo(channel);
    this.#ownTasks = context.tasks;
    this.#tasks = new TaskGiver(channel, context.tasks, this.#state, failed);
    channel.on('state-want', ({ pieces }) => {
      this.#state.copy(pieces).catch((cause) => failed(asMoultError(cause, 'MOULT_STATE_FAILED')));
    });
  }

  /** Facts for the operator: of the state that was given, and of what the successor has no place for. */
  facts(theirTasks: readonly string[]): Record<string, unknown> {
    const notTaken = [...this.#state.left, ...this.#tasks.left(theirTasks)];
    return {
      ...(this.#state.bytes === undefined ? {} : { stateBytes: this.#state.bytes }),
      ...(notTaken.length === 0 ? {} : { notTaken }),
    };
  }

  /** Gives what changed since the copy, while the service goes on. */
  catchUp(then: () => void, failed: (error: MoultError) => void): void {
    this.#whenGiven((state) => state.catchUp(), then, failed);
  }

  /** Gives the rest, while nobody serves. @param theirs the tasks of the other side. */
  finish(theirs: readonly string[], then: () => void, failed: (error: MoultError) => void): void {
    try {
      this.#tasks.check(theirs);
    } catch (cause) {
      failed(asMoultError(cause, 'MOULT_TASK_FAILED'));
      return;
    }
    this.#whenGiven((state) => state.finish(), then, failed);
  }

  /** Whether the other side puts together what a task gives along in parts. */
  set takesParts(takesParts: boolean) {
    this.#tasks.takesParts = takesParts;
  }

  /** Tells one that may have to serve again what changes here of these. */
  mirror(wants: readonly Want[]): void {
    this.#state.mirror(wants);
  }

  /** Of these tasks of the other side's, those that it will get from here. */
  common(theirs: readonly string[]): string[] {
    return this.#tasks.common(theirs);
  }

  /**
   * Lets a later generation in, which takes what this side tells of state if the other side is gone: it is told that it is
   * known, once it has said what it wants.
   */
  letIn(channel: Channel): void {
    channel.on('state-want', ({ pieces: wants }) => {
      if (this.#isStopped) {
        channel.close();
        return;
      }
      this.#fallbacks.push({ channel, wants });
      channel.send({ type: 'fallback' });
      this.#goOn();
    });
  }

  /** The other side serves: tasks follow, and what still changes here. */
  begin(theirs: readonly string[], withinMs: number): void {
    this.#hasBegun = true;
    this.#state.follow();
    this.#tasks.begin(theirs, withinMs);
  }

  /** Gives the changes back to a predecessor, which has the rest. */
  giveBack({ state, taskParts }: Message<'hand-back'>, then: () => void): void {
    this.takesParts = taskParts === true;
    if (state === undefined || state.length === 0) then();
    else this.#state.giveBack(state).then(then);
  }

  /** The service has finished here: tells what is left to tell. */
  end(then: () => void): void {
    this.#whenGiven(() => this.#tellRest(), then, then);
  }

  /** Gives no more: the handover is called off, or undone. What changes here is still noted. */
  stop(): void {
    this.#isStopped = true;
    this.#state.stop();
    this.#tasks.stop();
    for (const { channel } of this.#fallbacks) channel.close();
  }

  /** Notes nothing more for the other side. */
  forget(): void {
    this.#state.forget();
  }

  /** Whether no task waits for the other side any more, and that has read what was said of state. */
  get isOver(): boolean {
    return this.#tasks.isOver && (this.#isRead || this.#hasWaited);
  }

  /** The tasks that are the other side's by now. */
  get givenTasks(): string[] {
    return this.#tasks.given;
  }

  /** What a task was given with. */
  givenWith(name: string): Given | undefined {
    return this.#tasks.givenWith(name);
  }

  /** Goes on with all tasks but those that the other side gives back. @param mayHaveBegun whether it may have begun what it has. */
  resumeTasks(epoch: number, returns: readonly string[], mayHaveBegun = true): void {
    this.#tasks.resume(epoch, new Set(returns), mayHaveBegun);
  }

  /** What overlaps is not stopped because the other side is gone while this says that it may go on here. */
  set mayServeOn(mayServeOn: () => boolean) {
    this.#tasks.mayServeOn = mayServeOn;
  }

  // What it has not read is lost with it once this process has ended.
  get #isRead(): boolean {
    if (this.#state.isRead || (this.#state.isCutOff && !this.#goOn())) return true;
    this.#waiting ??= setTimeout(() => {
      this.#hasWaited = true;
      this.#ownTasks.check();
    }, this.#readWithinMs);
    return false;
  }

  // Counted from the first that is waited for.
  get #readWithinMs(): number {
    this.#readUntilMs ??= performance.now() + READ_MS;
    return Math.max(0, this.#readUntilMs - performance.now());
  }

  async #tellRest(): Promise<void> {
    for (;;) {
      const state = this.#state;
      await state.tellRest(this.#readWithinMs);
      if (!state.isCutOff || (this.#state === state && !this.#goOn())) break;
    }
    clearTimeout(this.#waiting);
    this.#state.end();
    for (const { channel } of this.#fallbacks) channel.close();
  }

  #giverTo(channel: Channel): StateGiver {
    const giver = new StateGiver(channel, this.#context.state, () => this.#ownTasks.check());
    channel.closed.then(() => {
      if (this.#state === giver) this.#goOn();
      this.#ownTasks.check();
    });
    return giver;
  }

  // What is told meanwhile waits there until all is taken that the other side has said until its end.
  /** Tells the next fallback, where the one that was told is gone. @returns whether there is one. */
  #goOn(): boolean {
    if (!this.#hasBegun || this.#isStopped || !this.#state.isCutOff) return false;
    this.#fallbacks = this.#fallbacks.filter(({ channel }) => !channel.isClosed);
    const next = this.#fallbacks.shift();
    if (next === undefined) return false;
    const former = this.#state;
    this.#state = this.#giverTo(next.channel);
    this.#state.goOn(next.wants, former);
    return true;
  }

  #whenGiven(
    work: (state: StateGiver) => Promise<void>,
    then: () => void,
    failed: (error: MoultError) => void,
  ): void {
    if (!this.#state.hasPieces) then();
    else work(this.#state).then(then, (cause) => failed(asMoultError(cause, 'MOULT_STATE_FAILED')));
  }
}
