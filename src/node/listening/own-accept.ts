import { Socket } from 'node:net';
import { reserve } from '../../os/descriptors/descriptor-reserve.js';
import { acceptConnection } from '../../os/unix-sockets/unix-socket.js';
import { setHandleOf, type WatchingHandle } from '../handle.js';

/** How long nothing is accepted when this process has no descriptor for it. */
const AGAIN_MS = 50;

/**
 * Accepts the connections of a listening Unix socket, as a server of Node does, but in the place of descriptors that are
 * kept in reserve: libuv accepts and closes at once what comes when a process may open no more.
 * Source: libuv src/unix/stream.c, uv__emfile_trick; and uv__read: a buffer of no length is UV_ENOBUFS, and nothing is read.
 */
export class OwnAccept {
  readonly fd: number;
  readonly #handle: WatchingHandle;
  readonly #enter: (socket: Socket) => void;
  readonly #maxSockets: number;
  #sockets = 0;
  #again: NodeJS.Timeout | undefined;
  #isClosed = false;

  /**
   * @param fd listens, and is this object's from now on.
   * @param maxSockets one that comes when so many are open is closed at once.
   * @param enter gets each, not read yet; what it opens at once is opened in the place of the reserve too.
   */
  constructor(fd: number, maxSockets: number, enter: (socket: Socket) => void) {
    this.fd = fd;
    this.#maxSockets = maxSockets;
    this.#enter = enter;
    const vehicle = new Socket({ fd, manualStart: true, readable: false, writable: false } as object);
    const handle = setHandleOf(vehicle, null) as WatchingHandle | undefined;
    if (handle === undefined) throw new TypeError('a socket made from a descriptor has no handle');
    this.#handle = handle;
    handle.useUserBuffer(new Uint8Array(0));
    handle.onread = () => this.#accept();
    handle.unref();
    handle.readStart();
  }

  /** Accepts no more, and closes the socket. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#again);
    this.#handle.readStop();
    this.#handle.close();
  }

  #accept(): void {
    while (!this.#isClosed) {
      const more = reserve.use(() => this.#acceptOne());
      if (more === 'none') return;
      if (more === 'one') continue;
      // It would be told of again and again.
      this.#handle.readStop();
      this.#again = setTimeout(() => {
        if (!this.#isClosed) this.#handle.readStart();
      }, AGAIN_MS).unref();
      return;
    }
  }

  #acceptOne(): 'one' | 'none' | 'no room' {
    const fd = acceptConnection(this.fd);
    if (typeof fd === 'string') return fd === 'EMFILE' || fd === 'ENFILE' ? 'no room' : 'none';
    const socket = new Socket({ fd, readable: true, writable: true, pauseOnCreate: true } as object);
    this.#sockets += 1;
    socket.once('close', () => {
      this.#sockets -= 1;
    });
    if (this.#sockets > this.#maxSockets) socket.destroy();
    else this.#enter(socket);
    return 'one';
  }
}
