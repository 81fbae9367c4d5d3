import { resolve } from 'node:path';
import { MoultError } from '../../errors.js';
import { closeDescriptor, duplicate } from '../../os/descriptors/descriptor.js';
import { inodeOf } from '../../os/descriptors/foreign-descriptor.js';
import { tryToRemove } from '../../os/files/remove.js';
import { socketFile } from '../../os/unix-sockets/socket-file.js';
import type { ListenOption } from '../../programs/listen-option.js';
import { itemOf, listenAgain, open } from '../../programs/open-sockets.js';
import { type GroupSocket, ReuseportGroup } from '../../programs/reuseport-group.js';
import { type ProgramSocket, SocketSet } from '../../programs/socket-set.js';
import type { ServiceManagerLink } from '../../service-manager/service-manager.js';
import type { Journal } from '../journal/journal.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { LeftListener } from './socket-recovery.js';

/** How often to check whether they listen. */
const LOOK_MS = 100;
/** How long a generation that has come back may take to bring its copies. */
const BRING_TIMEOUT_MS = 5000;
const BRING_LOOK_MS = 20;

/** The listeners that `--listen` names: opened by the supervisor before the first start, and open until its end. */
export class ListenSockets {
  readonly #options: readonly ListenOption[];
  readonly #held: HeldListeners;
  readonly #journal: Journal;
  /** Those that a generation has which is to come back. */
  #awaited: ListenOption[] = [];
  readonly #paths: { listener: string; path: string; file: string | undefined }[] = [];
  /** Those of which each generation of a program gets a socket of its own. */
  readonly #groups = new Map<string, ReuseportGroup>();
  /** Which of them those have that an earlier supervisor started. */
  readonly #left = new Map<string, ReadonlyMap<number, GroupSocket>>();
  #watching: NodeJS.Timeout | undefined;
  #manager: ServiceManagerLink | undefined;

  /**
   * @param options each of another listener.
   * @param held keeps them, beside those that the service opens.
   * @param journal by what is opened is known later.
   */
  constructor(options: readonly ListenOption[], held: HeldListeners, journal: Journal) {
    this.#options = options;
    this.#held = held;
    this.#journal = journal;
  }

  /**
   * Opens those that are not held already, as they are after `moult upgrade`, or when a service manager stored them.
   * @param left those of programs that an earlier supervisor left; their copies are this one's from now on.
   * @param isProgram whether each generation is to get sockets of its own, where that is possible.
   * @param areBrought whether generations live that may have some of them, and bring copies when they come back.
   * @throws MOULT_LISTEN_FAILED; those that were opened before are closed with the process.
   */
  open(
    manager: ServiceManagerLink,
    isProgram: boolean,
    left: readonly LeftListener[],
    areBrought: boolean,
  ): void {
    this.#manager = manager;
    for (const option of this.#options) {
      const { listener } = option;
      const there = left.find((one) => one.listener === listener);
      const one = this.#held.descriptorOf(listener) ?? there?.sockets[there.chosen]?.fd;
      const group = option.family === 'tcp' && isProgram ? this.#groupOf(option, one, there) : undefined;
      if (group !== undefined) this.#hold(option, duplicate(group.chosen.fd));
      else if (one !== undefined) {
        this.#note(option, [one]);
        this.#hold(option, duplicate(one));
      } else if (!this.#openOne(option, areBrought)) this.#awaited.push(option);
      for (const { fd } of there?.sockets ?? []) closeDescriptor(fd);
    }
  }

  /**
   * Waits until those that generations were to bring are held, and opens those that nobody has any more.
   * @throws MOULT_LISTEN_FAILED
   */
  async brought(): Promise<void> {
    const untilMs = performance.now() + BRING_TIMEOUT_MS;
    for (const option of this.#awaited.splice(0)) {
      const isHeld = () => this.#held.descriptorOf(option.listener) !== undefined;
      while (!isHeld() && !this.#openOne(option, performance.now() < untilMs))
        await new Promise((resolve) => setTimeout(resolve, BRING_LOOK_MS));
    }
  }

  /**
   * The sockets for the next generation of a program: these in their order, then what else is held, such as sockets of
   * socket units.
   * @param isBeside whether another generation serves, so that it gets new ones where it can.
   */
  socketSet(isBeside: boolean): SocketSet {
    return this.#socketSet((group) => (isBeside ? group.add() : group.chosen));
  }

  /** The sockets of one that an earlier supervisor started. */
  socketSetOf(generation: number): SocketSet {
    return this.#socketSet((group, name) => this.#left.get(name)?.get(generation) ?? group.chosen).adopted();
  }

  #socketSet(pick: (group: ReuseportGroup, name: string) => GroupSocket): SocketSet {
    const { items, descriptors } = this.#held.describe();
    const all = items.map(({ name }, i): ProgramSocket => {
      const tag = this.#options.find(({ listener }) => listener === name)?.tag ?? null;
      const group = this.#groups.get(name);
      if (group === undefined) return { name, tag, fd: descriptors[i] ?? -1 };
      const socket = pick(group, name);
      return { name, tag, fd: socket.fd, turn: { group, socket } };
    });
    const place = ({ name }: ProgramSocket) => {
      const index = this.#options.findIndex(({ listener }) => listener === name);
      return index < 0 ? this.#options.length : index;
    };
    return new SocketSet(all.sort((a, b) => place(a) - place(b)));
  }

  /** Keeps copies of the sockets to which new connections go now. */
  keepChosen(): void {
    for (const option of this.#options) {
      const group = this.#groups.get(option.listener);
      if (group !== undefined) this.#hold(option, duplicate(group.chosen.fd));
    }
  }

  /**
   * Looks from now on whether a program has shut one of them down, as some do when they stop: that ends it for every
   * process. Then it listens again at once; clients that were waiting have been reset.
   */
  watch(tell: (what: string) => void): void {
    this.#watching = setInterval(() => {
      for (const { listener } of this.#options) {
        const group = this.#groups.get(listener);
        const fd = this.#held.descriptorOf(listener);
        try {
          if (group === undefined ? fd !== undefined && listenAgain(fd) : group.repair())
            tell(
              `a program shut ${listener} down for all processes: moult listens there again, waiting connections were reset`,
            );
        } catch (error) {
          tell(`${listener} could not be opened again (${String(error)}); moult tries again`);
        }
      }
    }, LOOK_MS).unref();
  }

  /** Looks no more, and lets go of what only this process has. */
  close(): void {
    clearInterval(this.#watching);
    for (const group of this.#groups.values()) group.close();
    this.#groups.clear();
  }

  /** @returns false where it is taken, and may be: else that is an error. */
  #openOne(option: ListenOption, mayBeTaken: boolean): boolean {
    try {
      const fd = open(option);
      this.#note(option, [fd]);
      this.#hold(option, fd);
      return true;
    } catch (error) {
      const isTaken = error instanceof MoultError && error.details?.reason === 'EADDRINUSE';
      if (isTaken && mayBeTaken) return false;
      throw error;
    }
  }

  /** Undefined where there can be only one socket: it came from a service manager, or the kernel knows no other way. */
  #groupOf(
    option: Extract<ListenOption, { port: number }>,
    one: number | undefined,
    left: LeftListener | undefined,
  ): ReuseportGroup | undefined {
    const kept = left?.sockets.map(({ fd }) => fd) ?? (one === undefined ? [] : [one]);
    try {
      const group = new ReuseportGroup(option, (fds) => this.#note(option, fds), kept, left?.chosen);
      this.#groups.set(option.listener, group);
      const byGeneration = left?.sockets.flatMap(({ generations }, i) =>
        generations.map((generation) => [generation, group.all[i] as GroupSocket] as const),
      );
      this.#left.set(option.listener, new Map(byGeneration));
      return group;
    } catch (error) {
      if (error instanceof MoultError && error.code === 'MOULT_SYSTEM_CALL') return undefined;
      throw error;
    }
  }

  // A program cannot tell which sockets it has, nor the kernel how it counts them.
  #note({ listener }: ListenOption, fds: readonly number[]): void {
    this.#journal.write({ event: 'sockets', listener, inodes: fds.map(inodeOf) });
  }

  #hold(option: ListenOption, fd: number): void {
    const file = option.family === 'unix' ? this.#held.paths?.keep(option.listener, option.path) : undefined;
    if (option.family === 'unix' && !this.#paths.some(({ listener }) => listener === option.listener))
      this.#paths.push({ listener: option.listener, path: resolve(option.path), file });
    const item = { ...itemOf(option), ...(file === undefined ? {} : { file }) };
    this.#held.replace(item, fd);
    // Of a socket unit the service manager has a copy of its own; of this one only what it is given.
    this.#manager?.store?.keep({ ...item, lasting: false }, fd);
  }

  /** The service has ended for good: removes the paths, as far as they are these sockets'. */
  removePaths(): void {
    for (const { listener, path, file } of this.#paths) {
      if (file === undefined || socketFile(path) === file) tryToRemove(path);
      this.#held.paths?.drop(listener);
    }
  }
}
