import { join } from 'node:path';
import { Door, type Visitor } from '../../channel/door.js';
import type { Line } from '../../channel/line.js';
import { asMoultError, MoultError } from '../../errors.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';

/** How long after it found no room the socket at which successors come is tried again. */
const DOOR_AGAIN_MS = 1000;

/** A successor can be let in, and its process be watched, although the service may open no more descriptors. */
const RESERVED_DESCRIPTORS = 6;

/** What the door leads to. */
export interface GenerationDoorParts {
  readonly visit: Visitor;
  /** Is told where the door is. */
  readonly lifeline: () => Line;
  /** Whether this generation serves, or has served: then it goes on without a door. */
  readonly isCommitted: () => boolean;
  /** It cannot serve, since nobody could replace it. */
  readonly refuse: (error: MoultError) => void;
}

/** The socket at which the successor of a generation comes. */
export class GenerationDoor {
  readonly path: string;
  readonly #number: number;
  readonly #parts: GenerationDoorParts;
  #door: Door | undefined;

  /** @param folder in which the socket is. */
  constructor(folder: string, number: number, parts: GenerationDoorParts) {
    this.path = join(folder, `g${number}-${process.pid}.sock`);
    this.#number = number;
    this.#parts = parts;
  }

  /** Whether it has been opened. */
  get isOpen(): boolean {
    return this.#door !== undefined;
  }

  /** Opens it, or mends it where it is missing. @throws MOULT_SYSTEM_CALL where there is no room for its socket. */
  open(): void {
    if (this.#door === undefined) {
      const door = Door.open(this.path, 'predecessor', this.#parts.visit);
      door.keep();
      reserve.keep(RESERVED_DESCRIPTORS);
      process.once('exit', () => door.close());
      this.#door = door;
    } else if (!this.#door.mend()) return;
    this.announce();
  }

  /**
   * Goes on with a socket that the supervisor has bound in the place of this one, which could not be bound anew here:
   * without it no successor and no later supervisor would come.
   * @param fd of the socket; belongs to the door.
   */
  take(path: string, fd: number): void {
    if (this.#door === undefined || path !== this.path) {
      closeDescriptor(fd);
      return;
    }
    try {
      // Where it may enter the folder after all, nobody listens at the new socket: it makes its own.
      if (this.#door.take(fd) || this.#door.mend()) this.announce();
    } catch {
      // The kernel lets nobody listen now: the supervisor, which is not told that it does, tries again.
    }
  }

  /** Tells where it is. */
  announce(): void {
    this.#parts.lifeline().send({ type: 'door', path: this.path, looks: true });
  }

  /** Opens it. A generation that nobody could replace later is not let in; where nobody else serves it must be, and gets its door when there is room. */
  openOrRefuse(hasPredecessor: boolean): void {
    try {
      this.open();
    } catch (error) {
      const { message } = asMoultError(error, 'MOULT_SYSTEM_CALL');
      const what = `generation ${this.#number} could not create the socket that its successor needs to take over: ${message}`;
      if (hasPredecessor && !this.#parts.isCommitted())
        this.#parts.refuse(new MoultError('MOULT_SYSTEM_CALL', what));
      setTimeout(() => this.openOrRefuse(false), DOOR_AGAIN_MS).unref();
    }
  }
}
