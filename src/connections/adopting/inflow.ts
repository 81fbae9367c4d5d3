import type { Server as HttpServer } from 'node:http';
import type { Server } from 'node:net';
import { knownHub } from '../../broadcast/shared.js';
import type { Incoming } from '../../channel/beside.js';
import type { Channel } from '../../channel/channel.js';
import { monotonicMs } from '../../os/clock.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import { isGivenToUs } from '../../os/sockets/connection-owner.js';
import { ProcessHandle } from '../../os/unix-sockets/peer.js';
import type { ConnectionItem, Message } from '../../protocol/messages.js';
import type { ConnectionTracker } from '../tracker.js';
import { adoptCarried } from './adopt-carried.js';
import { adoptHttp1 } from './adopt-http1.js';
import { adoptTlsHttp1 } from './adopt-tls.js';

/** How long a process whose channel has closed may take to be gone: its descriptors close a moment before it ends. */
const END_TIMEOUT_MS = 2000;
const END_LOOK_MS = 10;

/** Kinds of which a descriptor alone is of no use. */
const NEEDS_DATA: ReadonlySet<ConnectionItem['kind']> = new Set(['carried', 'tls']);
const NO_BYTES = Buffer.alloc(0);

/** What becomes of connections that the other side accepted for this one, and of which nothing has been read. */
export interface Receiver {
  /** Whether it accepts now, and so takes those of others; those that it does not take stay with the other side. */
  mayTake(): boolean;
  /** What gives connections to this listener, as long as anything comes, also when it accepts no more; undefined where there is none. */
  into(listener: string): ((fd: number) => void) | undefined;
}

/** A connection that may not begin yet. */
interface Arrival {
  readonly fd: number;
  /** What goes along with it. */
  readonly partner: number | undefined;
  /** Its place in the batch. */
  readonly index: number;
  readonly item: ConnectionItem;
  /** Found when it came: this process may give its listeners up before it begins, and serves it all the same. */
  readonly server: Server | undefined;
  readonly into: ((fd: number) => void) | undefined;
  /** What goes along with it. */
  data?: Buffer;
  /** Up to where it was sent broadcasts where it comes from. */
  heard?: Message<'connections-data'>['heard'];
}

/**
 * Takes connections from the other side of a channel. Nothing of one is read before `connections-begin`; until
 * then the other side can take it back. When the channel closes before that, those that were given to us and
 * not taken back are ours as soon as the other side is surely gone; our copies of all others are closed unread.
 */
export class Inflow {
  /** Settles when the channel has closed and nothing can come any more. */
  readonly over: Promise<void>;
  #channel: Channel;
  #tracker: ConnectionTracker;
  #serverOf: (listener: string) => Server | undefined;
  #receiver: Receiver | undefined;
  #whenReady: (then: () => void) => void;
  #arrived = new Map<number, readonly Arrival[]>();
  /** What keeps broadcasts that those of a batch may lack. */
  #pins = new Map<number, () => void>();

  /**
   * @param receiver of those that were accepted on the other side and belong here.
   * @param whenReady calls back when this side can serve; until then what arrives is still the other side's.
   */
  constructor(
    channel: Channel,
    tracker: ConnectionTracker,
    serverOf: (listener: string) => Server | undefined,
    receiver?: Receiver,
    whenReady: (then: () => void) => void = (then) => then(),
  ) {
    this.#receiver = receiver;
    this.#whenReady = whenReady;
    this.#channel = channel;
    this.#tracker = tracker;
    this.#serverOf = serverOf;
    const giver = new ProcessHandle(channel.peer.pid);
    channel.on('connections', (message, incoming) => this.#arrive(message, incoming));
    channel.on('connections-data', (message, { attachment }) => this.#take(message, attachment));
    channel.on('connections-begin', ({ batch, without }) => this.#begin(batch, new Set(without)));
    channel.on('connections-kept', ({ batch, asks }) => {
      this.#drop(batch);
      if (asks === true) this.#acknowledge(batch, 0);
    });
    this.over = channel.closed.then(() => this.#closed(giver));
  }

  // Fewer descriptors than connections: this process may open no more, and the rest stays where it is.
  #arrive({ batch, items, heard }: Message<'connections'>, incoming: Incoming): void {
    const mayTake = items.every(({ kind }) => kind !== 'fresh') || this.#receiver?.mayTake() === true;
    // What was broadcast and they were not sent must be here; the giver will have it in a moment.
    const isTaken = mayTake && (heard === undefined || knownHub()?.canTake(heard, this.#channel) !== false);
    const descriptors = isTaken ? incoming.take() : [];
    // A number that comes twice: the other side has lost count, and what it sent first will not begin.
    this.#drop(batch);
    if (heard !== undefined && descriptors.length > 0) {
      this.#pins.set(batch, knownHub()?.pin() ?? (() => {}));
    }
    const arrived: Arrival[] = [];
    for (const [index, item] of items.entries()) {
      const count = item.descriptors ?? 1;
      if (descriptors.length < count) break;
      const [fd = -1, partner] = descriptors.splice(0, count);
      arrived.push(this.#arrival(fd, partner, index, item));
    }
    for (const fd of descriptors) closeDescriptor(fd);
    this.#arrived.set(batch, arrived);
    this.#acknowledge(batch, arrived.length);
  }

  #acknowledge(batch: number, count: number): void {
    this.#whenReady(() => this.#channel.send({ type: 'connections-received', batch, count }));
  }

  #arrival(fd: number, partner: number | undefined, index: number, item: ConnectionItem): Arrival {
    const server = this.#serverOf(item.listener);
    const into = item.kind === 'fresh' ? this.#receiver?.into(item.listener) : undefined;
    return { fd, partner, index, item, server, into };
  }

  // As copies, so that none keeps the memory of all.
  #take({ batch, items, heard }: Message<'connections-data'>, attachment: Buffer): void {
    const arrived = this.#arrived.get(batch);
    let at = 0;
    for (const { index, bytes } of items) {
      const one = arrived?.find((each) => each.index === index);
      if (one !== undefined) {
        one.data = Buffer.from(attachment.subarray(at, at + bytes));
        one.heard = heard;
      }
      at += bytes;
    }
  }

  #begin(batch: number, without: ReadonlySet<number>): void {
    const arrived = this.#arrived.get(batch);
    if (arrived === undefined) return;
    this.#arrived.delete(batch);
    // The giver keeps these after all.
    for (const one of arrived) if (without.has(one.index)) close(one);
    const { pausesMs, failed } = this.#adopt(arrived.filter(({ index }) => !without.has(index)));
    const failures = failed === 0 ? {} : { failed };
    this.#unpin(batch);
    this.#channel.send({ type: 'connections-adopted', batch, pausesMs, ...failures });
  }

  /** @returns how long each that was adopted stood still, and how many the service could not restore. */
  #adopt(arrived: readonly Arrival[]): { pausesMs: number[]; failed: number } {
    const pausesMs: number[] = [];
    let failed = 0;
    for (const one of arrived) {
      const { fd, partner, item, server, into, data, heard } = one;
      // The service had closed the listener since it claimed it, and with it would have closed what is idle.
      if (server === undefined) {
        close(one);
        continue;
      }
      // Its giver died before the data had left it, and what belonged to the connection died with it.
      if (NEEDS_DATA.has(item.kind) && data === undefined) {
        close(one);
        failed += 1;
        continue;
      }
      try {
        if (into !== undefined) into(fd);
        else if (item.kind === 'http1') adoptHttp1(fd, server as HttpServer, item, this.#tracker);
        else if (item.kind === 'tls')
          adoptTlsHttp1(fd, server as HttpServer, item, data ?? NO_BYTES, this.#tracker);
        else if (!adoptCarried({ fd, partner }, server, item, { data, heard }, this.#tracker)) failed += 1;
      } catch {
        // It is no connection at all, or its state is none that can be gone on with; the others are.
        close(one);
        if (NEEDS_DATA.has(item.kind)) failed += 1;
        continue;
      }
      pausesMs.push(monotonicMs() - item.frozenAtMs);
    }
    return { pausesMs, failed };
  }

  #drop(batch: number): void {
    for (const one of this.#arrived.get(batch) ?? []) close(one);
    this.#arrived.delete(batch);
    this.#unpin(batch);
  }

  #unpin(batch: number): void {
    this.#pins.get(batch)?.();
    this.#pins.delete(batch);
  }

  async #closed(giver: ProcessHandle): Promise<void> {
    const limitMs = performance.now() + END_TIMEOUT_MS;
    this.#closeTakenBack();
    while (this.#arrived.size > 0 && !giver.hasEnded() && performance.now() < limitMs) {
      await new Promise((resolve) => setTimeout(resolve, END_LOOK_MS));
      this.#closeTakenBack();
    }
    // Looked at once more: what it did last it did before it ended.
    const isGone = giver.hasEnded();
    giver.close();
    this.#closeTakenBack();
    for (const [batch, arrived] of this.#arrived) {
      if (isGone) this.#adopt(arrived);
      else this.#drop(batch);
    }
    this.#arrived.clear();
    for (const batch of [...this.#pins.keys()]) this.#unpin(batch);
  }

  #closeTakenBack(): void {
    for (const [batch, arrived] of this.#arrived) {
      const ours = arrived.filter(isOurs);
      for (const one of arrived) if (!ours.includes(one)) close(one);
      if (ours.length === 0) this.#arrived.delete(batch);
      else this.#arrived.set(batch, ours);
    }
  }
}

function close({ fd, partner, data }: Arrival): void {
  // It may be secret, and what it belongs to is another process's.
  data?.fill(0);
  closeDescriptor(fd);
  if (partner !== undefined) closeDescriptor(partner);
}

function isOurs({ fd, partner }: Arrival): boolean {
  return isGivenToUs(fd) && (partner === undefined || isGivenToUs(partner));
}
