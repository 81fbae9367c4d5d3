import type { Channel } from '../../channel/channel.js';
import type { StreamHandle } from '../../node/handle.js';
import { monotonicMs } from '../../os/clock.js';
import { giveTo } from '../../os/sockets/connection-owner.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import { ConnectionBatches, type Departing } from './connection-batches.js';

/** Connections in one batch. */
const BATCH = 64;

/** A connection that was accepted here, of which nothing has been read, and which its server has not seen. */
export interface Fresh {
  readonly handle: StreamHandle;
  /** The name of its listener. */
  readonly listener: string;
  /** When it was accepted, in milliseconds of the monotonic clock. */
  readonly acceptedAtMs: number;
}

/** What is told of an outflow of fresh connections. Each that was given either leaves or is returned. */
export interface FreshEvents {
  /** It is the other side's: our copy is gone. */
  left(fresh: Fresh): void;
  /** The other side did not take these: they are the caller's again. */
  returned(fresh: readonly Fresh[]): void;
  /** Nothing is under way any more. */
  idle(): void;
}

/** Gives connections of which nothing has been read to the process to which they belong. */
export class FreshOutflow {
  readonly #taker: number;
  readonly #events: FreshEvents;
  readonly #batches: ConnectionBatches<Fresh>;
  #queue: Fresh[] = [];
  #returned: Fresh[] = [];
  #isScheduled = false;
  #isStopped = false;

  constructor(channel: Channel, events: FreshEvents) {
    this.#taker = channel.peer.pid;
    this.#events = events;
    this.#batches = new ConnectionBatches<Fresh>(channel, {
      progress: () => this.#progressed(),
      returned: (fresh) => this.#returned.push(fresh),
      stuck: () => this.stop(),
    });
    channel.closed.then(() => this.stop());
  }

  /** Whether it gives nothing any more: the other side is gone, or does not answer. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  get isIdle(): boolean {
    return this.#queue.length === 0 && this.#batches.isIdle;
  }

  /** Gives one more, with others of this turn. */
  give(fresh: Fresh): void {
    this.#queue.push(fresh);
    this.#schedule();
  }

  /** Gives nothing any more; what has not been acknowledged is returned. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#batches.stop();
    const left = [...this.#returned, ...this.#queue];
    this.#returned = [];
    this.#queue = [];
    this.#events.returned(left);
    this.#events.idle();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(() => this.#pump());
  }

  #pump(): void {
    this.#isScheduled = false;
    while (!this.#isStopped && this.#queue.length > 0 && !this.#batches.isFull) {
      const batch = this.#queue.splice(0, BATCH);
      this.#batches.send(batch.map((fresh) => this.#departing(fresh)));
    }
  }

  #departing(fresh: Fresh): Departing<Fresh> {
    const { handle, listener, acceptedAtMs } = fresh;
    const { fd } = handle;
    // Should we die before the other side may begin, it takes the connection as it stands.
    giveTo(fd, this.#taker);
    const item: ConnectionItem = {
      listener,
      kind: 'fresh',
      idleLeftMs: null,
      headLeftMs: null,
      requests: 0,
      frozenAtMs: acceptedAtMs,
    };
    return {
      tracked: fresh,
      descriptors: [fd],
      item: () => item,
      leave: () => {
        handle.close();
        this.#events.left(fresh);
        return { data: undefined };
      },
      stay: () => {
        giveTo(fd, process.pid);
        // A stop returns all that is left at once; else the batches tell which stay.
        if (this.#isStopped) this.#returned.push(fresh);
      },
    };
  }

  #progressed(): void {
    const returned = this.#returned;
    this.#returned = [];
    if (returned.length > 0) this.#events.returned(returned);
    this.#schedule();
    if (this.isIdle) this.#events.idle();
  }
}

/** One that has just been accepted. */
export function freshOf(handle: StreamHandle, listener: string): Fresh {
  return { handle, listener, acceptedAtMs: monotonicMs() };
}
