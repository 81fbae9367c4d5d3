import type { Channel } from '../channel/channel.js';
import type { MoultError } from '../errors.js';
import { StateTaker } from '../state/state-taker.js';
import type { Given } from '../tasks/task.js';
import { TaskTaker } from '../tasks/task-taker.js';
import type { GenerationContext } from './generation-context.js';

/** Takes state and tasks from the other side of a handover. */
export class Taking {
  readonly #state: StateTaker;
  readonly #tasks: TaskTaker;

  /** @param failed told of what could not be taken of state. @param came told of each part of state. */
  constructor(
    channel: Channel,
    context: GenerationContext,
    failed: (error: MoultError) => void,
    came?: () => void,
  ) {
    this.#state = new StateTaker(channel, context.state, failed, came);
    const pieces = context.state;
    const whenTaken = (callback: () => void) => this.#state.whenTaken(callback);
    this.#tasks = new TaskTaker(channel, context.tasks, { pieces, whenTaken });
  }

  /** Nothing that comes can be refused. */
  takeAnySize(): this {
    this.#state.takeAnySize();
    return this;
  }

  /** Why a piece of state could not be taken. */
  get failure(): MoultError | undefined {
    return this.#state.failure;
  }

  /** Asks for all state that there is. @returns when it is here. @throws what a piece could not be taken for. */
  wantState(): Promise<void> {
    return this.#state.want();
  }

  /** Calls back once all state that has come so far is taken. */
  whenTaken(callback: () => void): void {
    this.#state.whenTaken(callback);
  }

  /** This generation has its tasks from now on; the expected ones come from the other side. */
  beginTasks(epoch: number, expected: readonly string[]): void {
    this.#state.takeAnySize();
    this.#tasks.begin(epoch, expected);
  }

  /** Takes these back, each when it comes. @param gave what each was given away with: with that it begins where nothing comes. */
  expectTasks(epoch: number, names: readonly string[], gave: (name: string) => Given | undefined): void {
    for (const name of names) {
      const given = gave(name);
      this.#tasks.expect(name, epoch, given && { data: given.data, origin: 'again' });
    }
  }

  /** The other side, which was to have all again, is gone: what it had kept begins here. */
  resumeTasks(epoch: number): void {
    this.#tasks.resume(epoch);
  }

  /** Nothing more comes. */
  stop(): void {
    this.#tasks.stop();
  }
}
