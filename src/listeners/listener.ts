import { rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { byMoult } from '../os/unix-sockets/socket-file.js';
import type { SocketLinks } from '../os/unix-sockets/socket-links.js';
import type { ListenerItem } from '../protocol/messages.js';

/**
 * - `gated`: claimed by this generation, not accepting yet
 * - `open`: accepting
 * - `paused`: accepts no more, although the service believes it does; can be resumed
 * - `closed`: the service closed it, or it was released
 */
export type ListenerState = 'gated' | 'open' | 'paused' | 'closed';

/** What identifies a bound socket. */
export interface ListenerIdentity {
  readonly name: string;
  readonly family: ListenerItem['family'];
  /** The path of a Unix listener that its owner removes on close, else null. */
  readonly path: string | null;
  /** What names the file of a Unix listener, where its path is kept. */
  readonly file?: string | undefined;
  /** What keeps its path. */
  readonly links?: SocketLinks | undefined;
  /** Whether a service manager keeps it open itself, so that it is never shut down. */
  readonly isLasting?: boolean;
  /** Whether it was opened for a moment, such as for one transfer: it is no part of what changes hands. */
  readonly isMomentary?: boolean;
}

/** Told when the service itself closed a listener, with the state that it had until then. */
export type OnClosedByService = (listener: Listener, was: ListenerState) => void;

/** A bound socket of this generation by which clients reach the service, and a descriptor of moult's own beside Node's. */
export abstract class Listener {
  readonly #identity: ListenerIdentity;
  /** Whether another generation bound it. */
  readonly isInherited: boolean;
  /** moult's own copy; -1 once it is closed. */
  fd: number;
  #state: ListenerState;
  #staysHere = false;
  #onClosedByService: OnClosedByService;

  protected constructor(
    identity: ListenerIdentity,
    fd: number,
    state: 'gated' | 'open',
    isInherited: boolean,
    onClosedByService: OnClosedByService,
  ) {
    this.#identity = identity;
    this.fd = fd;
    this.isInherited = isInherited;
    this.#state = state;
    this.#onClosedByService = onClosedByService;
  }

  get identity(): ListenerIdentity {
    return this.#staysHere ? { ...this.#identity, isMomentary: true } : this.#identity;
  }

  /** It is no part of what changes hands: its successor does not know it, and it stays here until its service closes it. */
  stay(): void {
    this.#staysHere = true;
  }

  /** It is part of what changes hands again: there is no successor. */
  stayNoMore(): void {
    this.#staysHere = false;
  }

  get state(): ListenerState {
    return this.#state;
  }

  /** Where clients reach it, as its owner in the service says. */
  abstract address(): AddressInfo | string | null;

  /** What other processes are told where a service manager keeps it open itself. */
  protected get lasting(): { lasting?: true } {
    return this.identity.isLasting ? { lasting: true } : {};
  }

  /** What other processes are told of the file of a Unix listener. */
  protected get atFile(): { file?: string } {
    const { file } = this.identity;
    return file === undefined ? {} : { file };
  }

  /** As other processes are told of it. */
  abstract item(): ListenerItem;

  /** gated → open. @throws MOULT_SYSTEM_CALL when the socket cannot listen. */
  open(): void {
    if (this.#state !== 'gated') return;
    this.openNow();
    this.#state = 'open';
  }

  /** open → paused: the service still believes that it listens, clients wait in the kernel's queue. */
  pause(): void {
    if (this.#state !== 'open') return;
    this.pauseNow();
    this.#state = 'paused';
  }

  /** paused → open: those who wait in the queue are served. @throws MOULT_SYSTEM_CALL */
  resume(): void {
    if (this.#state !== 'paused') return;
    this.resumeNow();
    this.#state = 'open';
  }

  /**
   * Gives the socket up: moult's copy is closed.
   * @param everywhere closes the port for every process that holds a copy, as far as its kind allows; never one
   *   that is lasting.
   */
  release(everywhere: boolean): void {
    this.#state = 'closed';
    if (this.fd < 0) return;
    if (everywhere && this.identity.isLasting !== true) this.closeEverywhere();
    closeDescriptor(this.fd);
    this.fd = -1;
  }

  /** Removes the path of a Unix listener that nobody accepts on any more; another socket that is there by now stays. */
  removePath(): void {
    const { path, file, links } = this.identity;
    if (path !== null) removeSocketPath(path, file, links);
  }

  /** Takes the descriptor out, to be claimed anew. */
  surrenderDescriptor(): number {
    const { fd } = this;
    this.fd = -1;
    this.#state = 'closed';
    return fd;
  }

  /** Gives the socket up for every process, by the descriptor that was taken out before. */
  releaseAs(fd: number): void {
    this.fd = fd;
    this.release(true);
  }

  protected closedByService(): void {
    this.#onClosedByService(this, this.#state);
  }

  protected abstract openNow(): void;
  protected abstract pauseNow(): void;
  protected abstract resumeNow(): void;
  /** Called while moult's own copy is still open. */
  protected abstract closeEverywhere(): void;
}

/** Removes the path of a Unix socket on which nobody accepts any more, and its second name where it has one. */
export function removeSocketPath(path: string, file?: string, links?: SocketLinks): void {
  if (file === undefined || links === undefined) {
    byMoult(() => rmSync(path, { force: true }));
    return;
  }
  links.remove(path, file);
  links.forget(file);
}
