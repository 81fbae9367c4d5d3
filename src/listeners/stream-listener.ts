import type { AddressInfo, Server } from 'node:net';
import { MoultError } from '../errors.js';
import { handleOf, isUnreferenced, type StreamHandle, setHandle } from '../node/handle.js';
import { isHandled } from '../node/http/handled.js';
import { acceptOn, type Steer, steerAccepted } from '../node/listening/accepted.js';
import {
  closeHandle,
  inheritOwner,
  listeningHandle,
  onHandleClose,
  openGate,
  shutGate,
} from '../node/listening/listening-handle.js';
import { offerTickets } from '../node/tls-tickets.js';
import { closeDescriptor, shutDownListener } from '../os/descriptors/descriptor.js';
import { type SocketAccess, setSocketAccess, socketAccess } from '../os/unix-sockets/socket-file.js';
import type { ListenerItem } from '../protocol/messages.js';
import { Listener, type ListenerIdentity, type OnClosedByService } from './listener.js';

/** Node's default. Source: node lib/net.js, setupListenHandle. */
const DEFAULT_BACKLOG = 511;

/** A socket that accepts connections: a server of the service. */
export class StreamListener extends Listener {
  /** The server to which connections go; the last one that was given the handle. */
  server: Server;
  readonly backlog: number;
  /** Whether clients that pipeline were met here, in this generation or one before. */
  meetsPipelining = false;
  /** Whether the service had no handler for its connections in the generation before; undefined where that did not say. */
  wasUnhandled: boolean | undefined;
  #others = new Set<Server>();
  #handle: StreamHandle;
  #address: AddressInfo | string | null = null;
  /** Who could connect to its path when this generation last accepted. */
  #access: SocketAccess | undefined;
  /** What waits in the queue of the socket before, where the path could not be given to this one's successor. */
  #before: { readonly fd: number; handle?: StreamHandle } | undefined;

  constructor(
    identity: ListenerIdentity,
    server: Server,
    handle: StreamHandle,
    fd: number,
    backlog: number,
    state: 'gated' | 'open',
    isInherited: boolean,
    onClosedByService: OnClosedByService,
  ) {
    super(identity, fd, state, isInherited, onClosedByService);
    this.server = server;
    this.backlog = backlog || DEFAULT_BACKLOG;
    this.#handle = handle;
    if (state === 'gated') shutGate(handle);
    this.#watch();
  }

  address(): AddressInfo | string | null {
    return this.state === 'open' || this.state === 'gated' ? this.server.address() : this.#address;
  }

  item(): ListenerItem {
    const { name, family, path } = this.identity;
    const pipelining = this.meetsPipelining ? { meetsPipelining: true } : {};
    return {
      name,
      family,
      path,
      backlog: this.backlog,
      ...this.atFile,
      ...this.lasting,
      ...pipelining,
      unhandled: !this.isHandled,
      ...offerTickets(this.server),
    };
  }

  /** Whether the service handles its connections now. */
  get isHandled(): boolean {
    return isHandled(this.server);
  }

  /** Serves also who waits on the socket that had this address before, to which no new client comes. @param fd belongs to this object. */
  alsoServe(fd: number): void {
    this.#before = { fd };
  }

  override release(everywhere: boolean): void {
    this.#closeBefore();
    super.release(everywhere);
  }

  /** Another server was given this listener's handle: Node gives it the connections from then on. */
  belongTo(server: Server): void {
    this.#others.add(this.server);
    this.server = server;
  }

  /** Has each connection that is accepted from now on decided of before its server sees it. */
  steer(steer: Steer): void {
    steerAccepted(this.#handle, steer);
  }

  /** Gives its server a connection that another process has accepted. The descriptor belongs to the server. @throws for one that is no connection. */
  accept(fd: number): void {
    acceptOn(this.#handle, fd);
  }

  protected openNow(): void {
    this.#openBefore();
    const error = openGate(this.#handle, this.backlog);
    if (error !== 0) {
      throw new MoultError('MOULT_SYSTEM_CALL', `opening ${this.identity.name} failed with error ${error}`);
    }
  }

  protected pauseNow(): void {
    this.#closeBefore();
    const { path } = this.identity;
    if (path !== null) this.#access = socketAccess(path);
    this.#address = this.server.address();
    const address = () => this.#address;
    Object.defineProperty(this.server, 'address', { configurable: true, writable: true, value: address });
    closeHandle(this.#handle);
  }

  protected resumeNow(): void {
    this.#restorePath();
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
    const error = handle.listen(this.backlog);
    if (error !== 0) {
      throw new MoultError('MOULT_SYSTEM_CALL', `resuming ${this.identity.name} failed with error ${error}`);
    }
  }

  protected closeEverywhere(): void {
    shutDownListener(this.fd);
    this.removePath();
  }

  #restorePath(): void {
    const { path, file, links } = this.identity;
    if (path === null || file === undefined || links === undefined) return;
    const outcome = links.restore(path, file);
    try {
      if (outcome === 'there' || outcome === 'restored') {
        if (this.#access !== undefined) setSocketAccess(path, this.#access);
        return;
      }
    } catch {
      // The rights to do so were given away since; who oversees this generation may have them.
    }
    if (outcome === 'taken' || outcome === 'lost') {
      const why = outcome === 'taken' ? 'something else is there' : 'its folder or its file system is gone';
      process.emitWarning(`clients can no longer reach this service at ${path}: ${why}`, 'MoultWarning');
    }
  }

  #openBefore(): void {
    if (this.#before === undefined) return;
    const handle = listeningHandle(this.#before.fd);
    inheritOwner(this.#handle, handle);
    this.#before.handle = handle;
    handle.unref();
    handle.listen(this.backlog);
  }

  #closeBefore(): void {
    if (this.#before === undefined) return;
    if (this.#before.handle !== undefined) closeHandle(this.#before.handle);
    closeDescriptor(this.#before.fd);
    this.#before = undefined;
  }

  #watch(): void {
    onHandleClose(this.#handle, () => {
      if (this.state === 'paused') Reflect.deleteProperty(this.server, 'address');
      this.closedByService();
    });
  }
}
