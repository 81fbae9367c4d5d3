import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Server as HttpServer } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { Channel } from '../channel/channel.js';
import { descriptorOf } from '../node/handle.js';
import {
  BetweenRequests,
  freeze,
  http1Phase,
  onceReceived,
  thaw,
  timeLeftMs,
  timerNowMs,
} from '../node/http1.js';
import { monotonicMs } from '../os/clock.js';
import { Deadline } from '../os/deadline.js';
import { giveTo } from '../os/ownership.js';
import type { ConnectionItem } from '../protocol/messages.js';
import { requestsOf } from './request-limit.js';
import { type ConnectionTracker, headDueAtMs, type Tracked } from './tracker.js';

/** So many batches may be under way without an acknowledgement: descriptors in flight count against a limit. */
const MAX_UNACKNOWLEDGED = 2;
/** Connections in one batch: what the other side adopts in one turn of its event loop. */
const BATCH = 64;
/** So long reads are held back for a response: past it, the service must learn again when its client leaves. */
const FREEZE_LIMIT_MS = 1000;
/** A connection that never sent anything and has less than this left is answered 408 here. */
const MIN_HEAD_LEFT_MS = 1000;
/** So often a connection whose last bytes the kernel has not taken yet is looked at again. */
const FLUSH_RETRY_MS = 10;
/** How long the other side may take to acknowledge a batch; then it stays, and the rest with it. */
const ACKNOWLEDGE_TIMEOUT_MS = 4000;
/** How long the other side may take to adopt a batch; then it is told once more to begin. */
const ADOPT_TIMEOUT_MS = 2000;
/** So often a connection that the receiver had no room for is offered again. */
const RETRY_MS = 100;

interface Departing {
  readonly tracked: Tracked;
  readonly idleLeftMs: number | null;
}

/** Where connections of a server go: the listener's name in the successor. */
export type Destination = (server: Server) => string | undefined;

/** Moves every connection that is at rest to the other side of a channel, and the others when they come to rest. */
export class Outflow {
  /** Connections that the other side acknowledged. */
  moved = 0;
  /** How long each stood still, in milliseconds, as the other side measured it. */
  readonly pausesMs: number[] = [];
  /** Settles once all that can move at once has moved, or the outflow has stopped. */
  readonly settled: Promise<void>;
  #channel: Channel;
  #tracker: ConnectionTracker;
  #destination: Destination;
  #candidates = new Set<Tracked>();
  #frozen = new Map<Tracked, number>();
  #unacknowledged = new Map<number, Departing[]>();
  /** Those that are on their way: sent twice, two sockets would share one stream. */
  #departing = new Set<Tracked>();
  #unadopted = new Set<number>();
  #between = new BetweenRequests();
  #batch = 0;
  #isScheduled = false;
  #isStopped = false;
  #sweep: NodeJS.Timeout | undefined;
  #settle!: () => void;
  #offOpened: (() => void) | undefined;
  #onFinish = (message: unknown) => this.#finished((message as { socket: Socket }).socket);

  constructor(channel: Channel, tracker: ConnectionTracker, destination: Destination) {
    this.#channel = channel;
    this.#tracker = tracker;
    this.#destination = destination;
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    channel.on('connections-received', ({ batch, count }) => this.#acknowledged(batch, count));
    channel.on('connections-adopted', ({ batch, pausesMs }) => {
      this.pausesMs.push(...pausesMs);
      this.#unadopted.delete(batch);
      this.#checkSettled();
    });
  }

  /** Begins with all that are open now; goes on with those that open or come to rest later. */
  start(): void {
    subscribe('http.server.response.finish', this.#onFinish);
    this.#offOpened = this.#tracker.onOpened((tracked) => this.#offer(tracked));
    for (const tracked of this.#tracker.all()) if (this.#canGo(tracked)) this.#candidates.add(tracked);
    this.#pump();
  }

  /** Whether a connection may still move, as opposed to being drained here. */
  canGo(socket: Socket): boolean {
    const tracked = this.#tracker.of(socket);
    return !this.#isStopped && tracked !== undefined && this.#canGo(tracked);
  }

  /** Moves nothing any more; what was frozen and not acknowledged is served here again. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    unsubscribe('http.server.response.finish', this.#onFinish);
    this.#offOpened?.();
    clearInterval(this.#sweep);
    for (const departing of this.#unacknowledged.values()) for (const one of departing) this.#stay(one);
    for (const tracked of this.#frozen.keys()) thaw(tracked.socket);
    this.#unacknowledged.clear();
    this.#unadopted.clear();
    this.#departing.clear();
    this.#frozen.clear();
    this.#candidates.clear();
    this.#settle();
  }

  #canGo(tracked: Tracked): boolean {
    return this.#destination(tracked.server) !== undefined;
  }

  #offer(tracked: Tracked): void {
    const isGone = this.#isStopped || tracked.socket.destroyed || this.#departing.has(tracked);
    if (isGone || !this.#canGo(tracked)) return;
    this.#candidates.add(tracked);
    this.#schedule();
  }

  // The response is finished in this turn; the connection is at rest, or on to the next, when the turn ends.
  #finished(socket: Socket): void {
    const tracked = this.#tracker.of(socket);
    if (tracked === undefined || this.#departing.has(tracked) || !this.#canGo(tracked)) return;
    this.#candidates.add(tracked);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(() => this.#pump());
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#pump());
  }

  #pump(): void {
    this.#isScheduled = false;
    if (this.#isStopped) return;
    const timersNowMs = timerNowMs();
    const departing: Departing[] = [];
    const later: Tracked[] = [];
    for (const tracked of this.#candidates) {
      if (departing.length === BATCH || this.#unacknowledged.size >= MAX_UNACKNOWLEDGED) break;
      this.#candidates.delete(tracked);
      switch (http1Phase(tracked.socket, this.#between.of(tracked.server as HttpServer))) {
        case 'rest':
          if (this.#headIsNearlyDue(tracked)) break;
          departing.push(this.#depart(tracked, timersNowMs));
          break;
        case 'flushing':
          this.#freeze(tracked);
          later.push(tracked);
          break;
        case 'responding':
          this.#freeze(tracked);
          break;
        case 'receiving':
          this.#thaw(tracked);
          // Answered early, it comes to rest without a response when the rest of the request is there.
          onceReceived(tracked.socket, () => this.#offer(tracked));
          break;
        case 'ended':
          this.#frozen.delete(tracked);
      }
    }
    this.#between.endTurn();
    if (departing.length > 0) this.#send(departing);
    for (const tracked of later) setTimeout(() => this.#offer(tracked), FLUSH_RETRY_MS).unref();
    // With the window full, the next acknowledgement goes on.
    if (this.#candidates.size > 0 && this.#unacknowledged.size < MAX_UNACKNOWLEDGED) this.#schedule();
    this.#checkSettled();
  }

  #depart(tracked: Tracked, timersNowMs: number): Departing {
    const idleLeftMs = timeLeftMs(tracked.socket, timersNowMs);
    this.#freeze(tracked);
    this.#departing.add(tracked);
    // Should we die before the other side may begin, it takes the connection as it stands.
    giveTo(descriptorOf(tracked.socket), this.#channel.peer.pid);
    tracked.socket.setTimeout(0);
    return { tracked, idleLeftMs };
  }

  #send(departing: Departing[]): void {
    const batch = ++this.#batch;
    const items = departing.map((one) => this.#describe(one));
    const descriptors = departing.map(({ tracked }) => descriptorOf(tracked.socket));
    this.#unacknowledged.set(batch, departing);
    this.#channel.send({ type: 'connections', batch, items }, descriptors);
    new Deadline(ACKNOWLEDGE_TIMEOUT_MS, () => {
      if (this.#unacknowledged.has(batch)) this.stop();
    }).unref();
  }

  // It does nothing where the batch has begun.
  #begin(batch: number): void {
    this.#channel.send({ type: 'connections-begin', batch });
    setTimeout(() => {
      if (this.#unadopted.has(batch)) this.#begin(batch);
    }, ADOPT_TIMEOUT_MS).unref();
  }

  #describe({ tracked, idleLeftMs }: Departing): ConnectionItem {
    const dueMs = tracked.socket.bytesRead === 0 ? headDueAtMs(tracked) : null;
    return {
      listener: this.#destination(tracked.server) ?? '',
      kind: 'http1',
      idleLeftMs,
      headLeftMs: dueMs === null ? null : Math.max(1, dueMs - performance.now()),
      requests: requestsOf(tracked),
      frozenAtMs: this.#frozen.get(tracked) ?? monotonicMs(),
    };
  }

  // From here on the other side holds a copy; ours must be gone before it begins to read.
  #acknowledged(batch: number, count: number): void {
    const departing = this.#unacknowledged.get(batch);
    if (departing === undefined) {
      this.#channel.send({ type: 'connections-kept', batch });
      return;
    }
    this.#unacknowledged.delete(batch);
    departing.forEach((one, i) => {
      this.#departing.delete(one.tracked);
      if (i < count) {
        this.#frozen.delete(one.tracked);
        one.tracked.socket.destroy();
        this.moved += 1;
      } else {
        this.#stay(one);
        setTimeout(() => this.#offer(one.tracked), RETRY_MS).unref();
      }
    });
    this.#unadopted.add(batch);
    this.#begin(batch);
    if (this.#candidates.size > 0) this.#schedule();
    this.#checkSettled();
  }

  #stay({ tracked, idleLeftMs }: Departing): void {
    if (!tracked.socket.destroyed) giveTo(descriptorOf(tracked.socket), process.pid);
    this.#thaw(tracked);
    if (idleLeftMs !== null && !tracked.socket.destroyed) tracked.socket.setTimeout(Math.max(1, idleLeftMs));
  }

  #freeze(tracked: Tracked): void {
    if (this.#frozen.has(tracked)) return;
    freeze(tracked.socket);
    this.#frozen.set(tracked, monotonicMs());
    this.#sweep ??= setInterval(() => this.#thawOld(), FREEZE_LIMIT_MS / 4).unref();
  }

  #thaw(tracked: Tracked): void {
    if (this.#frozen.delete(tracked)) thaw(tracked.socket);
  }

  #thawOld(): void {
    const limit = monotonicMs() - FREEZE_LIMIT_MS;
    for (const [tracked, at] of this.#frozen) {
      if (tracked.socket.destroyed) this.#frozen.delete(tracked);
      else if (at < limit && !this.#departing.has(tracked)) this.#thaw(tracked);
    }
    this.#checkSettled();
  }

  #headIsNearlyDue(tracked: Tracked): boolean {
    const dueMs = tracked.socket.bytesRead > 0 ? null : headDueAtMs(tracked);
    return dueMs !== null && dueMs - performance.now() < MIN_HEAD_LEFT_MS;
  }

  #checkSettled(): void {
    const { size } = this.#candidates;
    if (size + this.#unacknowledged.size + this.#unadopted.size + this.#frozen.size === 0) this.#settle();
  }
}
