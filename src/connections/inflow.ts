import type { Server as HttpServer } from 'node:http';
import type { Server } from 'node:net';
import type { Channel, Incoming } from '../channel/channel.js';
import { monotonicMs } from '../os/clock.js';
import { closeDescriptor } from '../os/descriptor.js';
import type { ConnectionItem, Message } from '../protocol/messages.js';
import { adoptHttp1 } from './adopt-http1.js';
import type { ConnectionTracker } from './tracker.js';

interface Arrived {
  readonly items: readonly ConnectionItem[];
  readonly descriptors: readonly number[];
}

/**
 * Takes connections from the other side of a channel. Nothing of one is read before `connections-begin`;
 * until then the other side can take it back, and if the channel closes our copies are closed unread.
 */
export class Inflow {
  #channel: Channel;
  #tracker: ConnectionTracker;
  #serverOf: (listener: string) => Server | undefined;
  #arrived = new Map<number, Arrived>();

  constructor(
    channel: Channel,
    tracker: ConnectionTracker,
    serverOf: (listener: string) => Server | undefined,
  ) {
    this.#channel = channel;
    this.#tracker = tracker;
    this.#serverOf = serverOf;
    channel.on('connections', (message, incoming) => this.#arrive(message, incoming));
    channel.on('connections-begin', ({ batch }) => this.#begin(batch));
    channel.closed.then(() => {
      for (const { descriptors } of this.#arrived.values()) for (const fd of descriptors) closeDescriptor(fd);
      this.#arrived.clear();
    });
  }

  // Fewer descriptors than connections: this process may open no more, and the rest stays where it is.
  #arrive({ batch, items }: Message<'connections'>, incoming: Incoming): void {
    const descriptors = incoming.take();
    // A number that comes twice: the other side has lost count, and what it sent first will not begin.
    for (const fd of this.#arrived.get(batch)?.descriptors ?? []) closeDescriptor(fd);
    this.#arrived.set(batch, { items: items.slice(0, descriptors.length), descriptors });
    this.#channel.send({
      type: 'connections-received',
      batch,
      count: Math.min(items.length, descriptors.length),
    });
  }

  #begin(batch: number): void {
    const arrived = this.#arrived.get(batch);
    if (arrived === undefined) return;
    this.#arrived.delete(batch);
    const pausesMs: number[] = [];
    arrived.descriptors.forEach((fd, i) => {
      const item = arrived.items[i];
      const server = item === undefined ? undefined : this.#serverOf(item.listener);
      // The service has closed the listener since it claimed it, and with it would have closed what is idle.
      if (item === undefined || server === undefined) {
        closeDescriptor(fd);
        return;
      }
      try {
        adoptHttp1(fd, server as HttpServer, item, this.#tracker);
      } catch {
        // It is no connection at all; the others are.
        closeDescriptor(fd);
        return;
      }
      pausesMs.push(monotonicMs() - item.frozenAtMs);
    });
    this.#channel.send({ type: 'connections-adopted', batch, pausesMs });
  }
}
