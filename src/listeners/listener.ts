import { unlinkSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { MoultError } from '../errors.js';
import { handleOf, isUnreferenced, type StreamHandle, setHandle } from '../node/handle.js';
import {
  closeHandle,
  inheritOwner,
  listeningHandle,
  onHandleClose,
  openGate,
  shutGate,
} from '../node/listening-handle.js';
import { closeDescriptor, shutDownListener } from '../os/descriptor.js';

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
  readonly family: 'tcp' | 'unix';
  /** The path of a Unix listener that its owner removes on close, else null. */
  readonly path: string | null;
}

/** Node's default. Source: node lib/net.js, setupListenHandle. */
const DEFAULT_BACKLOG = 511;

/** A listening socket of this generation: a server of the service, and a descriptor of moult's own beside Node's. */
export class Listener {
  readonly identity: ListenerIdentity;
  /** The server to which connections go; the last one that was given the handle. */
  server: Server;
  readonly backlog: number;
  /** Whether another generation bound it. */
  readonly isInherited: boolean;
  /** Whether clients that pipeline were met here, in this generation or one before. */
  meetsPipelining = false;
  /** moult's own copy; -1 once it is closed. */
  fd: number;
  #others = new Set<Server>();
  #handle: StreamHandle;
  #state: ListenerState;
  #address: AddressInfo | string | null = null;
  #onClosedByService: (listener: Listener, was: ListenerState) => void;

  constructor(
    identity: ListenerIdentity,
    server: Server,
    handle: StreamHandle,
    fd: number,
    backlog: number,
    state: 'gated' | 'open',
    isInherited: boolean,
    onClosedByService: (listener: Listener, was: ListenerState) => void,
  ) {
    this.identity = identity;
    this.server = server;
    this.backlog = backlog || DEFAULT_BACKLOG;
    this.isInherited = isInherited;
    this.fd = fd;
    this.#handle = handle;
    this.#state = state;
    this.#onClosedByService = onClosedByService;
    if (state === 'gated') shutGate(handle);
    this.#watch();
  }

  get state(): ListenerState {
    return this.#state;
  }

  /** Where clients reach it, as the server says. */
  address(): AddressInfo | string | null {
    return this.#state === 'open' || this.#state === 'gated' ? this.server.address() : this.#address;
  }

  /** Another server was given this listener's handle: Node gives it the connections from then on. */
  belongTo(server: Server): void {
    this.#others.add(this.server);
    this.server = server;
  }

  /** gated → open. @throws MOULT_SYSTEM_CALL when the socket cannot listen. */
  open(): void {
    if (this.#state !== 'gated') return;
    const error = openGate(this.#handle, this.backlog);
    if (error !== 0) {
      throw new MoultError('MOULT_SYSTEM_CALL', `opening ${this.identity.name} failed with error ${error}`);
    }
    this.#state = 'open';
  }

  /** open → paused: the server still says that it listens, clients wait in the backlog. */
  pause(): void {
    if (this.#state !== 'open') return;
    this.#address = this.server.address();
    const address = () => this.#address;
    Object.defineProperty(this.server, 'address', { configurable: true, writable: true, value: address });
    closeHandle(this.#handle);
    this.#state = 'paused';
  }

  /** paused → open: those who wait in the backlog are accepted. */
  resume(): void {
    if (this.#state !== 'paused') return;
    const handle = listeningHandle(this.fd);
    inheritOwner(this.#handle, handle);
    Reflect.deleteProperty(this.server, 'address');
    // Where another owner took the handle over (the primary of node:cluster), it stays the owner.
    for (const server of [this.server, ...this.#others]) {
      if (handleOf(server) === this.#handle) setHandle(server, handle);
    }
    if (isUnreferenced(this.server)) handle.unref();
    this.#handle = handle;
    this.#watch();
    this.#state = 'open';
    const error = handle.listen(this.backlog);
    if (error !== 0) {
      throw new MoultError('MOULT_SYSTEM_CALL', `resuming ${this.identity.name} failed with error ${error}`);
    }
  }

  /**
   * Gives the socket up: moult's copy is closed.
   * @param everywhere closes the port for every process that holds a copy, and removes the path.
   */
  release(everywhere: boolean): void {
    this.#state = 'closed';
    if (this.fd < 0) return;
    if (everywhere) {
      shutDownListener(this.fd);
      if (this.identity.path !== null) removePath(this.identity.path);
    }
    closeDescriptor(this.fd);
    this.fd = -1;
  }

  /** Takes the descriptor out, to be claimed anew. */
  surrenderDescriptor(): number {
    const { fd } = this;
    this.fd = -1;
    this.#state = 'closed';
    return fd;
  }

  #watch(): void {
    onHandleClose(this.#handle, () => {
      const was = this.#state;
      if (was === 'paused') Reflect.deleteProperty(this.server, 'address');
      this.#onClosedByService(this, was);
    });
  }
}

function removePath(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody removed it before.
  }
}
