import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { MoultError } from '../errors.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { bindUnix } from '../os/unix-sockets/unix-socket.js';
import { privateMode } from './private-folder.js';

/** The generation whose socket it is. */
export interface DoorHolder {
  readonly number: number;
  /** Where it says that its socket is. */
  readonly door: string | undefined;
  /** The only folder in which a socket is bound for it: private to the supervisor, so nothing there is a link of its own. */
  readonly runFolder: string | undefined;
  readonly takesDoor: boolean;
  readonly isOurs: boolean;
  readonly isReachable: boolean;
}

/** Has a generation listen at a socket that is bound to the path of its own. Settles when it does. @throws MOULT_PEER_TIMEOUT, MOULT_PEER_CLOSED */
export type GiveDoor = (path: string, fd: number, timeoutMs: number) => Promise<void>;

/**
 * Replaces the socket at which a generation receives its successor, where its path was removed. A generation does that
 * itself, unless it has given up its privileges: then it may not enter the run folder, and this supervisor binds for it.
 */
export class DoorReplacement {
  readonly #holder: DoorHolder;
  readonly #give: GiveDoor;
  #underWay: Promise<void> | undefined;

  constructor(holder: DoorHolder, give: GiveDoor) {
    this.#holder = holder;
    this.#give = give;
  }

  /** Whether a socket has just been bound, and the generation has not said yet that it listens there. */
  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** Whether nothing lies at the path, and the generation takes another socket, or is just taking it. */
  get isNeeded(): boolean {
    if (this.isUnderWay) return true;
    const { door, takesDoor, isOurs, isReachable } = this.#holder;
    if (door === undefined || !takesDoor || !isOurs || !isReachable || !this.#isInPlace(door)) return false;
    try {
      return lstatSync(door, { throwIfNoEntry: false }) === undefined;
    } catch {
      return false;
    }
  }

  /**
   * Binds a socket at the path, and has the generation listen there.
   * @throws MOULT_SYSTEM_CALL when it cannot be bound; MOULT_PEER_TIMEOUT, MOULT_PEER_CLOSED when the generation does not take it.
   */
  make(timeoutMs: number): Promise<void> {
    this.#underWay ??= this.#make(timeoutMs).finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  // It may have given up its privileges, and this supervisor has them: nothing is bound or removed where it says so alone.
  #isInPlace(door: string): boolean {
    const { runFolder, number } = this.#holder;
    return dirname(door) === runFolder && new RegExp(`^g${number}-\\d+\\.sock$`).test(basename(door));
  }

  async #make(timeoutMs: number): Promise<void> {
    const { door: path = '', number } = this.#holder;
    const fd = bindUnix(path);
    // The generation has made its own just now.
    if (fd === 'EADDRINUSE') return;
    if (typeof fd === 'string') {
      const what = `the socket of generation ${number} was removed and cannot be created again: ${path}: ${fd}`;
      throw new MoultError('MOULT_SYSTEM_CALL', what, { details: { reason: fd } });
    }
    try {
      chmodSync(path, privateMode());
      await this.#give(path, fd, timeoutMs);
    } catch (error) {
      // Nobody listens there: the next look must not take it for the generation's.
      rmSync(path, { force: true });
      throw error;
    } finally {
      closeDescriptor(fd);
    }
  }
}
