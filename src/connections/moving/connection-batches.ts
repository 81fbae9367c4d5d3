import { knownHub } from '../../broadcast/shared.js';
import type { Channel } from '../../channel/channel.js';
import { Deadline } from '../../os/deadline.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import type { Tracked } from '../tracker.js';
import { MAX_BATCH_BYTES } from './carried.js';

/** How many batches may be under way without an acknowledgement: descriptors in flight count against a limit. */
const MAX_UNACKNOWLEDGED = 2;
/** How long the other side may take to acknowledge a batch; then it stays, and the rest with it. */
const ACKNOWLEDGE_TIMEOUT_MS = 4000;
/** How long the other side may take to adopt a batch; then it is told once more to begin. */
const ADOPT_TIMEOUT_MS = 2000;

/** A connection that stands still, ready to be sent. */
export interface Departing<T extends object = Tracked> {
  /** By what its sender knows it. */
  readonly tracked: T;
  /** Its own, and that of what goes along with it. */
  readonly descriptors: readonly number[];
  /** Data that goes right behind the descriptors, because nothing can change it any more; secret. At most 64 KiB. */
  readonly ahead?: Buffer;
  /** By what broadcasts know its client, where it may be sent some. */
  readonly socket?: object;
  item(): ConnectionItem;
  /**
   * The other side has a copy: gives ours up, without a sign to the client.
   * @param roomBytes how much data may go along with it.
   * @returns its data, if it has any, and whether that is secret; or that it stays after all, as it is.
   */
  leave(roomBytes: number): { data: Buffer | undefined; isSecret?: boolean } | 'stays';
  /** Goes on here as if nothing had been. */
  stay(): void;
}

/** What is told of batches. */
export interface BatchEvents<T extends object = Tracked> {
  /** There is room for another batch, or one has come to its end. */
  progress(): void;
  /** The other side did not take it, or it decided to stay: it goes on here. */
  returned(tracked: T): void;
  /** The other side has not answered for long: either it is given nothing any more, or {@link ConnectionBatches.takeBack} waits for it. */
  stuck(): void;
}

/**
 * Sends connections so that each exists once at every moment: the other side reads nothing of a batch until it is
 * told to begin, and it is told when our copies are gone.
 */
export class ConnectionBatches<T extends object = Tracked> {
  /** Connections that the other side acknowledged. */
  moved = 0;
  /** Connections that the other side could not restore. */
  failed = 0;
  /** How much data has gone along with them. */
  carriedBytes = 0;
  /** How long each stood still, in milliseconds, as the other side measured it. */
  readonly pausesMs: number[] = [];
  #channel: Channel;
  #events: BatchEvents<T>;
  #unacknowledged = new Map<number, readonly Departing<T>[]>();
  #unadopted = new Set<number>();
  /** Those that are on their way: sent twice, two sockets would share one stream. */
  #departing = new Set<T>();
  #last = 0;
  #isStopped = false;
  #isSilent = false;

  constructor(channel: Channel, events: BatchEvents<T>) {
    this.#channel = channel;
    this.#events = events;
    channel.on('connections-received', ({ batch, count }) => this.#acknowledged(batch, count));
    channel.on('connections-adopted', ({ batch, pausesMs, failed }) => {
      this.#isSilent = false;
      this.pausesMs.push(...pausesMs);
      this.failed += failed ?? 0;
      this.#unadopted.delete(batch);
      this.#events.progress();
    });
  }

  get isFull(): boolean {
    return this.#isSilent || this.#unacknowledged.size >= MAX_UNACKNOWLEDGED;
  }

  /** Whether the other side has not answered for long, and was sent nothing since. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Whether nothing is under way. */
  get isIdle(): boolean {
    return this.#unacknowledged.size + this.#unadopted.size === 0;
  }

  /** Whether a connection is on its way. */
  has(tracked: T): boolean {
    return this.#departing.has(tracked);
  }

  send(departing: readonly Departing<T>[]): void {
    const batch = ++this.#last;
    for (const { tracked } of departing) this.#departing.add(tracked);
    this.#unacknowledged.set(batch, departing);
    const items = departing.map((one) => one.item());
    const descriptors = departing.flatMap((one) => one.descriptors);
    const heard = items.some(({ kind }) => kind === 'carried') ? knownHub()?.heard : undefined;
    const told = heard === undefined ? {} : { heard };
    this.#channel.send({ type: 'connections', batch, items, ...told }, descriptors);
    this.#sendAhead(batch, departing);
    new Deadline(ACKNOWLEDGE_TIMEOUT_MS, () => {
      if (this.#unacknowledged.has(batch)) this.#events.stuck();
    }).unref();
  }

  #sendAhead(batch: number, departing: readonly Departing<T>[]): void {
    const data: Buffer[] = [];
    const items: { index: number; bytes: number }[] = [];
    departing.forEach(({ ahead }, index) => {
      if (ahead === undefined) return;
      data.push(ahead);
      items.push({ index, bytes: ahead.length });
    });
    if (items.length === 0) return;
    const all = Buffer.concat(data);
    this.#channel.send({ type: 'connections-data', batch, items }, [], all);
    all.fill(0);
  }

  /** Nothing is sent any more; what was not acknowledged goes on here. */
  stop(): void {
    this.#isStopped = true;
    const staying = this.#keep();
    this.#unadopted.clear();
    this.#departing.clear();
    for (const one of staying) one.stay();
  }

  /**
   * What was not acknowledged goes on here, and nothing is sent until the other side answers: a loop that is blocked for
   * some seconds takes the rest when it runs again. It is asked for an answer: with a message that was lost, it has
   * nothing to answer to.
   */
  takeBack(): void {
    this.#isSilent = true;
    const staying = this.#keep({ asks: true });
    for (const { tracked } of staying) this.#departing.delete(tracked);
    for (const one of staying) {
      one.stay();
      this.#events.returned(one.tracked);
    }
    this.#events.progress();
  }

  /*
   * The other side is told before anything else: the same connection may go to it again, or to another, and when this
   * channel closes it must not take its first copy for given.
   */
  #keep(how: { readonly asks?: true } = {}): Departing<T>[] {
    for (const batch of this.#unacknowledged.keys())
      this.#channel.send({ type: 'connections-kept', batch, ...how });
    const staying = [...this.#unacknowledged.values()].flat();
    this.#unacknowledged.clear();
    return staying;
  }

  // From here on the other side holds a copy; ours must be gone before it begins to read.
  #acknowledged(batch: number, count: number): void {
    const departing = this.#unacknowledged.get(batch);
    const wasSilent = this.#isSilent;
    this.#isSilent = false;
    if (departing === undefined) {
      this.#channel.send({ type: 'connections-kept', batch });
      if (wasSilent) this.#events.progress();
      return;
    }
    this.#unacknowledged.delete(batch);
    // Before any leaves: whoever sees that none is left must see that not all have arrived.
    this.#unadopted.add(batch);
    const hub = knownHub();
    const without: number[] = [];
    const staying: Departing<T>[] = [];
    const data: Buffer[] = [];
    const items: { index: number; bytes: number }[] = [];
    const secrets: Buffer[] = [];
    const send = (some: typeof items, bytes: Buffer, heard = hub?.heard) => {
      const told = heard === undefined ? {} : { heard };
      this.#channel.send({ type: 'connections-data', batch, items: some, ...told }, [], bytes);
    };
    let roomBytes = MAX_BATCH_BYTES;
    departing.forEach((one, index) => {
      this.#departing.delete(one.tracked);
      const left = index < count ? one.leave(roomBytes) : 'stays';
      if (left === 'stays') {
        staying.push(one);
        if (index < count) without.push(index);
        return;
      }
      this.moved += 1;
      if (left.data === undefined) return;
      roomBytes -= left.data.length;
      this.carriedBytes += left.data.length;
      if (left.isSecret === true) secrets.push(left.data);
      const item = { index, bytes: left.data.length };
      const further = one.socket === undefined ? undefined : hub?.heardBy(one.socket);
      if (further !== undefined) send([item], left.data, further);
      else {
        data.push(left.data);
        items.push(item);
      }
    });
    if (items.length > 0) {
      const all = Buffer.concat(data);
      send(items, all);
      if (secrets.length > 0) secrets.push(all);
    }
    for (const secret of secrets) secret.fill(0);
    this.#begin(batch, without);
    // Only now: the other side closes its copies of these unread.
    for (const one of staying) {
      one.stay();
      this.#events.returned(one.tracked);
    }
    this.#events.progress();
  }

  // It does nothing where the batch has begun.
  #begin(batch: number, without: readonly number[]): void {
    const except = without.length === 0 ? {} : { without: [...without] };
    this.#channel.send({ type: 'connections-begin', batch, ...except });
    setTimeout(() => {
      if (!this.#isStopped && this.#unadopted.has(batch)) this.#begin(batch, without);
    }, ADOPT_TIMEOUT_MS).unref();
  }
}
