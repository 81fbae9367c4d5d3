import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { MoultError } from '../errors.js';
import type { Threads } from '../handover/threads.js';
import type { Listener } from '../listeners/listener.js';
import type { ListenerRegistry } from '../listeners/registry.js';
import type { StreamListener } from '../listeners/stream-listener.js';
import { ThreadListener } from '../listeners/thread-listener.js';
import { holdForOthers } from '../listeners/worker-datagrams.js';
import { descriptorOf } from '../node/handle.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { isAffairOfParent } from '../os/processes/proc-tree.js';
import type { ListenerItem, Message, Settings } from '../protocol/messages.js';

/** How long a port that a process of the service has left is kept open for the one that comes in its place. */
const CLAIM_AGAIN_MS = 5000;

/** What another process of the service has left. */
export interface LeftByProcess {
  readonly pid: number;
  /** The worker thread of that process that has ended; 0: the process. */
  readonly thread: number;
  readonly names: readonly string[];
  /** Whether it ended by its own wish, or is the affair of the process that started it, which knows of it. */
  readonly isExpected: boolean;
  /** Whether it has exited by itself with another status than 0. */
  readonly hasFailed: boolean;
}

/** One who has left; those who come in its place take its names from it. */
type Leave = Omit<LeftByProcess, 'names'>;

/** Who asks for a listener, and whether it shares the port with other processes by its own wish. */
interface Asking {
  readonly pid: number;
  readonly thread: number;
  readonly sharesPort: boolean;
}

/** What the main thread's generation is to its threads. */
export interface HubSurroundings {
  readonly number: number;
  readonly folder: string;
  readonly settings: Settings;
  readonly listeners: ListenerRegistry;
  readonly threads: Threads;
  /** Another process has ended, and none has come to listen in its place. @returns whether that is closed now, for good. */
  readonly left: (left: LeftByProcess) => boolean;
  /** Whether what is bound or claimed now accepts at once. */
  readonly mayAccept: boolean;
}

/**
 * Lets worker threads of this process in, and other processes of the service, and says what each of their listen() calls gets: one socket for a name,
 * however many threads ask for it.
 */
export class ThreadHub {
  readonly path: string;
  readonly #around: HubSurroundings;
  readonly #shut: Int32Array;
  /** Names that a thread is about to bind, and the threads that wait for what becomes of it. */
  readonly #binding = new Map<string, (() => void)[]>();
  /** Names that other processes of the service have asked for, and who asked last. */
  readonly #askedBy = new Map<string, string>();
  /** Names at which nobody listens since one has left. */
  readonly #left = new Map<string, Leave>();

  private constructor(around: HubSurroundings, shut: Int32Array) {
    this.#around = around;
    this.#shut = shut;
    this.path = join(around.folder, `t${process.pid}-0.sock`);
  }

  /** Opens it. @param shut the memory in which threads see that they may not accept. @throws MOULT_SYSTEM_CALL */
  static async open(around: HubSurroundings, shut: Int32Array): Promise<ThreadHub> {
    const hub = new ThreadHub(around, shut);
    const door = Door.open(hub.path, 'threads', hub.#visit);
    door.keep();
    process.once('exit', () => door.close());
    return hub;
  }

  #visit = (channel: Channel, hello: Message<'hello'>): void => {
    const { role, thread, wants, pid, sharesPort = false } = hello;
    if (role !== 'thread' || thread === undefined) {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        `expected a thread or a process of the service, met ${role}`,
      );
    }
    if (wants === undefined) this.#join(channel, thread, pid);
    else this.#answer(channel, wants, { pid, thread, sharesPort });
  };

  #join(channel: Channel, thread: number, pid: number): void {
    const { number, settings, mayAccept, threads, listeners } = this.#around;
    const names = threads.add(thread, pid, channel, this.#shut, !mayAccept);
    // What it bound without asking: a handle of its own.
    channel.on('hold', ({ listener }, incoming) => {
      const [fd] = incoming.take();
      if (fd === undefined) return;
      if (listeners.named(listener.name) === undefined) this.#hold(listener, fd, false);
      else closeDescriptor(fd);
    });
    const door = join(this.#around.folder, `t${pid}-${thread}.sock`);
    const remove = () => removePath(door);
    process.once('exit', remove);
    // Of a thread that ends its process knows.
    let isExpected = thread !== 0 || (pid !== process.pid && isAffairOfParent(pid));
    let hasFailed = false;
    channel.on('exits', ({ failed = false }) => {
      hasFailed = failed;
      isExpected ||= !failed;
    });
    channel.closed.then(() => {
      process.off('exit', remove);
      remove();
      if (pid !== process.pid) this.#leaves({ pid, thread, isExpected, hasFailed }, names);
    });
    channel.send({ type: 'thread-welcome', generation: number, settings, accepts: mayAccept });
  }

  #leaves(leave: Leave, names: ReadonlySet<string>): void {
    for (const [name, owner] of this.#askedBy) {
      const isIts = names.has(name) || owner === ownerOf(leave);
      if (isIts && !this.#left.has(name) && this.#around.threads.countOf(name) === 0)
        this.#left.set(name, leave);
    }
    this.#closeLeft(leave);
  }

  // A process that is gone for good leaves nobody at its port.
  #closeLeft(leave: Leave): void {
    const { threads, listeners, left } = this.#around;
    setTimeout(() => {
      const ones = listeners.own().flatMap((one) => {
        const { name } = one.identity;
        const isLeft = one instanceof ThreadListener && threads.countOf(name) === 0;
        return isLeft && this.#isLeftBy(leave, name) ? [one] : [];
      });
      if (ones.length === 0) return;
      const names = ones.map(({ identity }) => identity.name);
      if (!left({ ...leave, names })) this.#closeLeft(leave);
      else
        for (const one of ones) {
          this.#askedBy.delete(one.identity.name);
          this.#left.delete(one.identity.name);
          one.closedByThreads();
        }
    }, CLAIM_AGAIN_MS).unref();
  }

  // Each has its own time: another one may have come and gone since.
  #isLeftBy(leave: Leave, name: string): boolean {
    const last = this.#left.get(name);
    return last === undefined ? this.#askedBy.get(name) === ownerOf(leave) : last === leave;
  }

  #answer(channel: Channel, wants: readonly string[], who: Asking): void {
    const { pid, thread, sharesPort } = who;
    const [name = ''] = wants;
    const known =
      !sharesPort && this.#isOfOther(name, pid) ? undefined : (this.#known(wants) ?? this.#claim(wants));
    this.#left.delete(name);
    if (pid !== process.pid) this.#askedBy.set(name, ownerOf({ pid, thread }));
    if (known !== undefined) {
      channel.send({ type: 'inherit', epoch: 0, listeners: [known.item()] }, [known.fd]);
      return;
    }
    const { listeners } = this.#around;
    const waiting = this.#binding.get(name);
    if (waiting !== undefined) {
      waiting.push(() => this.#answer(channel, wants, who));
      return;
    }
    this.#binding.set(name, []);
    channel.on('hold', ({ listener }, incoming) => {
      const [fd] = incoming.take();
      if (fd === undefined) return;
      if (listeners.named(listener.name) === undefined) this.#hold(listener, fd, false, pid);
      else closeDescriptor(fd);
    });
    channel.closed.then(() => {
      const next = this.#binding.get(name) ?? [];
      this.#binding.delete(name);
      for (const answer of next) answer();
    });
    channel.send({ type: 'inherit', epoch: 0, listeners: [] });
  }

  // Between processes a port is taken: who asks for it binds it itself, and learns so from the kernel.
  #isOfOther(name: string, pid: number): boolean {
    const { threads, listeners } = this.#around;
    const known = listeners.named(name);
    const isOurs = known !== undefined && !(known instanceof ThreadListener);
    return threads.isOfOther(name, pid) || (pid !== process.pid && isOurs);
  }

  #known(wants: readonly string[]): Listener | undefined {
    const { listeners } = this.#around;
    const [name = ''] = wants;
    const found = listeners.named(name) ?? listeners.streams().find((one) => isOn(one, name));
    return found !== undefined && found.fd >= 0 ? found : undefined;
  }

  #claim(wants: readonly string[]): Listener | undefined {
    const { listeners } = this.#around;
    const [name = '', ...others] = wants;
    const path = others[0]?.startsWith('unix:') ? others[0].slice('unix:'.length) : undefined;
    const inherited =
      listeners.inherited.named(name, ['tcp', 'unix', 'udp']) ??
      listeners.inherited.lasting(others) ??
      (path === undefined ? undefined : listeners.inherited.atPath(path));
    if (inherited === undefined) return undefined;
    const { item, fd } = inherited;
    // Clients are to find it where this release asks for it.
    const isOurs = item.path !== null && path !== undefined;
    return this.#hold(isOurs ? { ...item, path } : item, fd, true);
  }

  #hold(item: ListenerItem, fd: number, isInherited: boolean, pid = process.pid): Listener {
    const { listeners, threads } = this.#around;
    return holdForOthers(listeners, item, fd, isInherited, (listener) => {
      listener.isFirstOfProcess = pid !== process.pid && !threads.hasListener(pid);
    });
  }
}

function ownerOf({ pid, thread }: Pick<Leave, 'pid' | 'thread'>): string {
  return `${pid}-${thread}`;
}

// A thread that was given the descriptor of a server of the main thread.
function isOn(listener: StreamListener, name: string): boolean {
  const fd = descriptorOf(listener.server);
  return fd >= 0 && name === `fd:${fd}`;
}

function removePath(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // With Node's permissions a service may not be able to: it goes with the run folder.
  }
}
