import { unlinkSync } from 'node:fs';
import { MoultError } from '../errors.js';
import { duplicate } from '../os/descriptor.js';
import { Berth, type ProgramSocket } from '../programs/berth.js';
import { itemOf, listenAgain, open } from '../programs/bind.js';
import { Lanes } from '../programs/lanes.js';
import type { ListenOption } from '../programs/listen-option.js';
import type { ServiceManagerLink } from '../starter/service-manager.js';
import type { HeldListeners } from './held-listeners.js';

/** So often it is looked whether they listen. */
const LOOK_MS = 100;

/** The listeners that `--listen` names: opened by the supervisor before the first start, and open until its end. */
export class OwnListeners {
  readonly #options: readonly ListenOption[];
  readonly #held: HeldListeners;
  readonly #paths: string[] = [];
  /** Those of which each generation of a program gets a socket of its own. */
  readonly #lanes = new Map<string, Lanes>();
  #watching: NodeJS.Timeout | undefined;
  #manager: ServiceManagerLink | undefined;

  /** @param options each of another listener. @param held keeps them, beside those that the service opens. */
  constructor(options: readonly ListenOption[], held: HeldListeners) {
    this.#options = options;
    this.#held = held;
  }

  /**
   * Opens those that are not held already, as they are after `moult upgrade`, or when a service manager stored them.
   * @param isProgram whether each generation is to get sockets of its own, where that is possible.
   * @throws MOULT_LISTEN_FAILED; those that were opened before are closed with the process.
   */
  open(manager: ServiceManagerLink, isProgram: boolean): void {
    this.#manager = manager;
    for (const option of this.#options) {
      const kept = this.#held.descriptorOf(option.listener);
      const lanes = option.family === 'tcp' && isProgram ? lanesOf(option, kept) : undefined;
      if (lanes !== undefined) {
        this.#lanes.set(option.listener, lanes);
        this.#hold(option, duplicate(lanes.chosen.fd));
      } else this.#hold(option, kept === undefined ? open(option) : duplicate(kept));
      if (option.family === 'unix') this.#paths.push(option.path);
    }
  }

  /**
   * The sockets for the next generation of a program: these in their order, then what else is held, such as sockets of
   * socket units.
   * @param isBeside whether another generation serves, so that it gets new ones where it can.
   */
  berth(isBeside: boolean): Berth {
    const { items, descriptors } = this.#held.describe();
    const all = items.map(({ name }, i): ProgramSocket => {
      const tag = this.#options.find(({ listener }) => listener === name)?.tag ?? null;
      const lanes = this.#lanes.get(name);
      if (lanes === undefined) return { name, tag, fd: descriptors[i] ?? -1 };
      const lane = isBeside ? lanes.add() : lanes.chosen;
      return { name, tag, fd: lane.fd, lane: { of: lanes, lane } };
    });
    const place = ({ name }: ProgramSocket) => {
      const index = this.#options.findIndex(({ listener }) => listener === name);
      return index < 0 ? this.#options.length : index;
    };
    return new Berth(all.sort((a, b) => place(a) - place(b)));
  }

  /** Keeps copies of the sockets to which new connections go now. */
  keepChosen(): void {
    for (const option of this.#options) {
      const lanes = this.#lanes.get(option.listener);
      if (lanes !== undefined) this.#hold(option, duplicate(lanes.chosen.fd));
    }
  }

  /**
   * Looks from now on whether a program has shut one of them down, as some do when they stop: that ends it for every
   * process. Then it listens again at once; clients that were waiting have been reset.
   */
  watch(tell: (what: string) => void): void {
    this.#watching = setInterval(() => {
      for (const { listener } of this.#options) {
        const lanes = this.#lanes.get(listener);
        const fd = this.#held.descriptorOf(listener);
        if (lanes === undefined ? fd !== undefined && listenAgain(fd) : lanes.repair())
          tell(
            `a program has shut ${listener} down for every process: it listens again, who waited there was reset`,
          );
      }
    }, LOOK_MS).unref();
  }

  /** Looks no more, and lets go of what only this process has. */
  close(): void {
    clearInterval(this.#watching);
    for (const lanes of this.#lanes.values()) lanes.close();
    this.#lanes.clear();
  }

  #hold(option: ListenOption, fd: number): void {
    const item = itemOf(option);
    this.#held.replace(item, fd);
    // Of a socket unit the service manager has a copy of its own; of this one only what it is given.
    this.#manager?.store?.keep({ ...item, lasting: false }, fd);
  }

  /** The service has ended for good: removes the paths. Nobody else can have bound them since. */
  removePaths(): void {
    for (const path of this.#paths) {
      try {
        unlinkSync(path);
      } catch {
        // Somebody has removed it.
      }
    }
  }
}

/** Undefined where there can be only one socket: it came from a service manager, or the kernel knows no other way. */
function lanesOf(
  option: Extract<ListenOption, { port: number }>,
  kept: number | undefined,
): Lanes | undefined {
  try {
    return new Lanes(option, kept);
  } catch (error) {
    if (error instanceof MoultError && error.code === 'MOULT_SYSTEM_CALL') return undefined;
    throw error;
  }
}
