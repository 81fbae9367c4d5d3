import { deserialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import type { Message } from '../protocol/messages.js';
import type { StateEntries } from '../state/state-entries.js';
import type { Given } from './task.js';
import type { Tasks } from './tasks.js';
import { untilEnded } from './until-ended.js';

const FROM_NOBODY: Given = { data: undefined, origin: 'nobody' };

/** What is taken as state: that of tasks, too. */
export interface TakenState {
  readonly pieces: StateEntries;
  /** Calls back once all that has come so far is taken. */
  whenTaken(callback: () => void): void;
}

/** Takes tasks from the other side of a channel, each when it comes; all that are left when the other side is gone. */
export class TaskTaker {
  #channel: Channel;
  #tasks: Tasks;
  #state: TakenState;
  /** Those that the other side still has; with what each begins where it is gone before. */
  #expected = new Map<string, Given>();
  /** Those that the other side kept. */
  #kept = new Map<string, Given>();
  /** Given before this side was ready to expect it. */
  #early = new Map<string, Given>();
  /** Given, and only to be taken once the state that came before is. */
  #coming = new Set<string>();
  /** What has come so far of what one gives along. */
  #parts = new Map<string, Buffer[]>();
  #isGiverGone = false;
  #isStopped = false;

  constructor(channel: Channel, tasks: Tasks, state: TakenState) {
    this.#channel = channel;
    this.#tasks = tasks;
    this.#state = state;
    const giver = new ProcessHandle(channel.peer.pid);
    channel.on('task-given', (message, { attachment }) => this.#receive(message, attachment));
    channel.closed.then(() => this.#closed(giver));
  }

  /**
   * This generation has its tasks from now on.
   * @param expected those that the other side still has. All others begin at once.
   */
  begin(epoch: number, expected: readonly string[]): void {
    this.#tasks.begun(epoch);
    const theirs = new Set(expected);
    for (const task of this.#tasks.all()) {
      if (!theirs.has(task.name)) task.begin(epoch);
      else this.expect(task.name, epoch);
    }
  }

  /** One that the other side has, and will give. @param otherwise with what it begins where the other side is gone before. */
  expect(name: string, epoch: number, otherwise = FROM_NOBODY): void {
    const task = this.#tasks.get(name);
    if (task === undefined) return;
    if (task.runner.overlaps) {
      task.begin(epoch).then(() => this.#channel.send({ type: 'task-begun', name }));
      return;
    }
    task.expect(epoch);
    const early = this.#early.get(name);
    if (early !== undefined) task.arrive(early);
    else if (this.#isGiverGone) task.arrive(otherwise);
    else this.#expected.set(name, otherwise);
    this.#early.delete(name);
  }

  /** Nothing more comes: the other side keeps what it has not given. */
  stop(): void {
    this.#isStopped = true;
    for (const name of [...this.#expected.keys()]) {
      if (this.#coming.has(name)) continue;
      this.#tasks.get(name)?.arrive(undefined);
      this.#kept.set(name, this.#expected.get(name) ?? FROM_NOBODY);
      this.#expected.delete(name);
    }
  }

  /** The other side, which was to have all again, is gone: what it had kept begins here. */
  resume(epoch: number): void {
    for (const [name, otherwise] of this.#kept) this.#tasks.get(name)?.begin(epoch, otherwise);
    this.#kept.clear();
    this.#takeOver();
  }

  #receive({ name, late, goesOn }: Message<'task-given'>, bytes: Buffer): void {
    const parts = [...(this.#parts.get(name) ?? []), bytes];
    if (goesOn) {
      this.#parts.set(name, parts);
      this.#channel.send({ type: 'task-read', bytes: bytes.length });
      return;
    }
    this.#parts.delete(name);
    const data: unknown = deserialize(parts.length === 1 ? bytes : Buffer.concat(parts));
    // What became of it at the other side, as far as that is state, has come before.
    if (late !== true) this.#coming.add(name);
    this.#state.whenTaken(() => this.#take(name, data, late === true));
  }

  #take(name: string, data: unknown, isLate: boolean): void {
    const task = this.#tasks.get(name);
    if (task === undefined) return;
    const given: Given = { data, origin: 'former' };
    if (!isLate) this.#coming.delete(name);
    if (isLate || task.runner.overlaps) {
      if (data !== undefined) task.receive(data);
    } else if (this.#expected.delete(name)) task.arrive(given);
    else this.#early.set(name, given);
  }

  // Whoever has not given them all will not: they begin here when it can run none of them any more.
  async #closed(giver: ProcessHandle): Promise<void> {
    await untilEnded(giver, () => this.#expected.size > 0);
    this.#state.whenTaken(() => this.#gone());
  }

  #gone(): void {
    this.#isGiverGone = true;
    for (const [name, otherwise] of this.#expected) this.#tasks.get(name)?.arrive(otherwise);
    this.#expected.clear();
    if (!this.#isStopped) this.#takeOver();
  }

  #takeOver(): void {
    for (const { runner } of this.#tasks.all()) {
      if (runner.piece !== undefined) runner.gone?.(this.#state.pieces.link(runner.piece, this.#channel));
    }
  }
}
