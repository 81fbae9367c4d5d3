import { deserialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import { ProcessHandle } from '../os/peer.js';
import type { Given } from './task.js';
import type { Tasks } from './tasks.js';

/** How long after a channel has closed the next look follows whether its process is gone. */
const LOOK_MS = 20;
/** How long one is waited for whose number is not known here. */
const STRANGER_MS = 2000;

const FROM_NOBODY: Given = { data: undefined, origin: 'nobody' };

/** Takes tasks from the other side of a channel, each when it comes; all that are left when the other side is gone. */
export class TaskTaker {
  #channel: Channel;
  #tasks: Tasks;
  #expected = new Set<string>();
  /** Given before this side was ready to expect it. */
  #early = new Map<string, Given>();
  #isGiverGone = false;

  constructor(channel: Channel, tasks: Tasks) {
    this.#channel = channel;
    this.#tasks = tasks;
    const giver = new ProcessHandle(channel.peer.pid);
    channel.on('task-given', ({ name, late }, { attachment }) => this.#take(name, attachment, late === true));
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

  /** One that the other side has, and will give. */
  expect(name: string, epoch: number): void {
    const task = this.#tasks.get(name);
    if (task === undefined) return;
    if (task.holding.overlaps) {
      task.begin(epoch).then(() => this.#channel.send({ type: 'task-begun', name }));
      return;
    }
    task.expect(epoch);
    const early = this.#early.get(name);
    if (early !== undefined) task.arrive(early);
    else if (this.#isGiverGone) task.arrive(FROM_NOBODY);
    else this.#expected.add(name);
    this.#early.delete(name);
  }

  /** Nothing more comes: the other side keeps what it has not given. */
  stop(): void {
    for (const name of this.#expected) this.#tasks.get(name)?.arrive(undefined);
    this.#expected.clear();
  }

  #take(name: string, bytes: Buffer, isLate: boolean): void {
    const task = this.#tasks.get(name);
    if (task === undefined) return;
    const given: Given = { data: deserialize(bytes), origin: 'former' };
    if (isLate || task.holding.overlaps) task.receive(given.data);
    else if (this.#expected.delete(name)) task.arrive(given);
    else this.#early.set(name, given);
  }

  // Whoever has not given them all will not: they begin here when it can run none of them any more.
  async #closed(giver: ProcessHandle): Promise<void> {
    for (let waited = 0; !giver.hasEnded(); waited += LOOK_MS) {
      if (!giver.isKnown && waited >= STRANGER_MS) break;
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, LOOK_MS);
        if (this.#expected.size === 0) timer.unref();
      });
    }
    giver.close();
    this.#isGiverGone = true;
    for (const name of this.#expected) this.#tasks.get(name)?.arrive(FROM_NOBODY);
    this.#expected.clear();
  }
}
