import { descriptorOf } from '../../node/handle.js';
import { thaw, timeLeftMs } from '../../node/http/http1.js';
import { giveTo } from '../../os/sockets/connection-owner.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import { requestsOf } from '../http1/request-limit.js';
import { headDueAtMs, type Tracked } from '../tracker.js';
import type { Departing } from './connection-batches.js';

/** An HTTP/1.1 connection at rest, frozen, on its way out. */
export class DepartingHttp1 implements Departing {
  readonly tracked: Tracked;
  readonly #descriptor: number;
  readonly #listener: string;
  readonly #frozenAtMs: number;
  readonly #idleLeftMs: number | null;

  /**
   * @param taker the process to which it goes.
   * @param timersNowMs the time in which timers count.
   */
  constructor(tracked: Tracked, listener: string, taker: number, frozenAtMs: number, timersNowMs: number) {
    this.tracked = tracked;
    this.#descriptor = descriptorOf(tracked.socket);
    this.#listener = listener;
    this.#frozenAtMs = frozenAtMs;
    this.#idleLeftMs = timeLeftMs(tracked.socket, timersNowMs);
    // Should we die before the other side may begin, it takes the connection as it stands.
    giveTo(this.#descriptor, taker);
    tracked.socket.setTimeout(0);
  }

  get descriptors(): readonly number[] {
    return [this.#descriptor];
  }

  item(): ConnectionItem {
    const dueMs = this.tracked.socket.bytesRead === 0 ? headDueAtMs(this.tracked) : null;
    return {
      listener: this.#listener,
      kind: 'http1',
      idleLeftMs: this.#idleLeftMs,
      headLeftMs: dueMs === null ? null : Math.max(1, dueMs - performance.now()),
      requests: requestsOf(this.tracked),
      frozenAtMs: this.#frozenAtMs,
    };
  }

  leave(): { data: undefined } {
    this.tracked.socket.destroy();
    return { data: undefined };
  }

  stay(): void {
    const { socket } = this.tracked;
    if (!socket.destroyed) giveTo(this.#descriptor, process.pid);
    thaw(socket);
    if (this.#idleLeftMs !== null && !socket.destroyed) socket.setTimeout(Math.max(1, this.#idleLeftMs));
  }
}
