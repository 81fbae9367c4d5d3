import type { AddressInfo } from 'node:net';
import { shareAddress, shutDownListener } from '../os/descriptors/descriptor.js';
import type { SocketLinks } from '../os/unix-sockets/socket-links.js';
import type { ListenerItem } from '../protocol/messages.js';
import { Listener, type OnClosedByService } from './listener.js';

/**
 * A socket on which worker threads of this process accept. They gate and pause it, each for itself; here is the copy
 * that outlives them.
 */
export class ThreadListener extends Listener {
  /** Where clients reach it, as the thread that listened last said. */
  boundTo: AddressInfo | string | null = null;
  /** Whether it is the first one of another process of the service: then it was not opened for a client. */
  isFirstOfProcess = false;
  readonly #item: ListenerItem;

  /** @param fd belongs to this object. */
  constructor(
    item: ListenerItem,
    fd: number,
    state: 'gated' | 'open',
    isInherited: boolean,
    onClosedByService: OnClosedByService,
    links?: SocketLinks,
  ) {
    const { name, family, path, file, lasting } = item;
    const identity = { name, family, path, file, links, isLasting: lasting === true };
    super(identity, fd, state, isInherited, onClosedByService);
    this.#item = item;
  }

  address(): AddressInfo | string | null {
    return this.boundTo;
  }

  item(): ListenerItem {
    // Only the thread knows whether its server has a handler by now.
    const { spare: _, threads: __, unhandled: ___, ...item } = this.#item;
    return item;
  }

  /** No thread listens on it any more, because the service closed it there. */
  closedByThreads(): void {
    this.closedByService();
  }

  protected openNow(): void {}

  protected pauseNow(): void {}

  protected resumeNow(): void {}

  protected closeEverywhere(): void {
    // As a datagram socket of the main thread.
    if (this.identity.family === 'udp') shareAddress(this.fd, true);
    else shutDownListener(this.fd);
    this.removePath();
  }
}
