import { randomBytes } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { MoultError } from '../../errors.js';
import { closeDescriptor, unblock } from '../descriptors/descriptor.js';
import {
  AF_UNIX,
  lastErrorName,
  libc,
  MSG_DONTWAIT,
  MSG_PEEK,
  POLLOUT,
  POLLRDHUP,
  SHUT_WR,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  systemCallError,
} from '../libc.js';
import { unixAddress } from '../unix-sockets/unix-socket.js';
import { bindAddress, socketAddress } from './bind-address.js';
import { portsBeside } from './local-ports.js';
import { tcpPeerInode, unixPeerInode } from './socket-diag.js';
import { socketIdentity } from './socket-identity.js';

/** Where a probe is to come: an address of the Internet, or the path of a Unix socket. */
export type ProbeTarget = { readonly host: string; readonly port: number } | { readonly path: string };

/** How far a probe has come, or the name of the error by which it failed. */
export type ProbeState = 'pending' | 'connected' | { readonly failed: string };

/**
 * A connection that finds out who accepts at an address. By what it comes from it is known before it comes: a port, or
 * the abstract name of a Unix socket. So whoever accepts it can tell it from a client's, and need not show it to the service.
 */
export class ProbeConnection {
  /** The port, or the name, from which it comes. */
  readonly from: string;
  readonly #fd: number;
  readonly #target: ProbeTarget;
  #state: ProbeState = 'pending';

  private constructor(fd: number, from: string, target: ProbeTarget) {
    this.#fd = fd;
    this.from = from;
    this.#target = target;
  }

  /** One that is bound, and not on its way yet. @param bind binds it to a port, or to any that is free. @throws MOULT_SYSTEM_CALL */
  static to(target: ProbeTarget, bind = bindAddress): ProbeConnection {
    return 'path' in target ? ProbeConnection.#unix(target) : ProbeConnection.#internet(target, bind);
  }

  // One that has failed says so whatever is asked for.
  #polls(event: number): boolean {
    const request = Buffer.alloc(8);
    request.writeInt32LE(this.#fd, 0);
    request.writeInt16LE(event, 4);
    return libc().poll(request, 1, 0) > 0;
  }

  static #internet(target: ProbeTarget & { host: string }, bind: typeof bindAddress): ProbeConnection {
    const host = isIPv4(target.host) ? '0.0.0.0' : '::';
    let fd = bind('tcp', host, 0);
    if (fd === 'EADDRINUSE') {
      for (const port of portsBeside()) {
        fd = bind('tcp', host, port);
        if (fd !== 'EADDRINUSE') break;
      }
    }
    if (typeof fd === 'string')
      throw new MoultError('MOULT_SYSTEM_CALL', `bind failed with ${fd}`, {
        details: { call: 'bind', reason: fd },
      });
    unblock(fd);
    const address = socketIdentity(fd)?.address;
    const port = address !== undefined && 'port' in address ? address.port : 0;
    return new ProbeConnection(fd, String(port), target);
  }

  static #unix(target: ProbeTarget): ProbeConnection {
    const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) throw systemCallError('socket');
    const name = `moult-look-${randomBytes(8).toString('hex')}`;
    const address = unixAddress(`\0${name}`, true);
    if (libc().bind(fd, address, address.length) !== 0) {
      const error = systemCallError('bind', name);
      closeDescriptor(fd);
      throw error;
    }
    return new ProbeConnection(fd, name, target);
  }

  /** Sends it on its way. */
  start(): void {
    const address = 'path' in this.#target ? unixAddress(this.#target.path) : addressOf(this.#target);
    if (libc().connect(this.#fd, address, address.length) === 0) this.#state = 'connected';
    else {
      // A Unix socket whose queue is full says EAGAIN, and is tried again.
      const goesOn = [constants.errno.EINPROGRESS, constants.errno.EAGAIN].includes(libc().errno());
      if (!goesOn) this.#state = { failed: lastErrorName() };
    }
  }

  /** How far it has come by now. */
  look(): ProbeState {
    if (this.#state !== 'pending') return this.#state;
    if ('path' in this.#target) {
      this.start();
      return this.#state;
    }
    if (!this.#polls(POLLOUT)) return this.#state;
    const value = Buffer.alloc(4);
    libc().getsockopt(this.#fd, SOL_SOCKET, SO_ERROR, value, new Int32Array([4]));
    const error = value.readInt32LE(0);
    this.#state = error === 0 ? 'connected' : { failed: getSystemErrorName(-error) };
    return this.#state;
  }

  /** The inode of the socket that its acceptor has; 0 while nobody has accepted it, undefined where that is not known. */
  acceptedAs(): number | undefined {
    if ('path' in this.#target) return unixPeerInode(Number(fstatSync(this.#fd, { bigint: true }).ino));
    const address = socketIdentity(this.#fd)?.address;
    if (address === undefined || !('port' in address)) return undefined;
    return tcpPeerInode(address, this.#target);
  }

  /** Whether who accepted it has said something, or has ended it: so somebody did. */
  isAnswered(): boolean {
    const got = libc().recv(this.#fd, Buffer.alloc(1), 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || lastErrorName() !== 'EAGAIN';
  }

  /** Says that nothing will come: who accepted it ends it in its turn, unless it keeps its half open. */
  finish(): void {
    libc().shutdown(this.#fd, SHUT_WR);
  }

  /** Whether who accepted it has ended it, whatever it said before. */
  isEnded(): boolean {
    return this.#polls(POLLRDHUP);
  }

  /** Ends it; who accepted it reads its end. */
  close(): void {
    closeDescriptor(this.#fd);
  }
}

function addressOf(target: Exclude<ProbeTarget, { path: string }>): Buffer {
  return socketAddress(target.host, target.port);
}
