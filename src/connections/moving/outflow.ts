/*
 * Over 300 lines: the ways of a connection out of this process meet in one loop, and what each waits for is decided in
 * the same turn. Which may go is in move-rules.ts, what one with a mover takes in departing-carried.ts, what is on its
 * way in connection-batches.ts.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Channel } from '../../channel/channel.js';
import { MoultError } from '../../errors.js';
import { BetweenRequests, http1Phase, onceReceived, timerNowMs } from '../../node/http/http1.js';
import { isHttps, isTlsServer, onSecured, socketAbove, socketBelow } from '../../node/tls-sockets.js';
import { type ConnectionTracker, headDueAtMs, type Tracked } from '../tracker.js';
import { MAX_BATCH_BYTES, MAX_TOTAL_BYTES } from './carried.js';
import { ConnectionBatches, type Departing } from './connection-batches.js';
import { CarriedDeparture } from './departing-carried.js';
import { DepartingHttp1 } from './departing-http1.js';
import { DepartingTls } from './departing-tls.js';
import { FrozenConnections } from './frozen-connections.js';
import { type CarriedDestination, type Destination, MoveRules } from './move-rules.js';
import { allMovers, type Mover, onLook } from './movers.js';
import { recogniseProxied } from './proxied.js';
import { securedSocket } from './tls-hold.js';

/** The weight of one batch: what the other side adopts in one turn of its event loop. */
const BATCH_WEIGHT = 64;
const HTTP1_WEIGHT = 1;
/** To make a WebSocket anew takes several times as long as an HTTP/1.1 connection. */
const CARRIED_WEIGHT = 4;
/** How long reads are held back for a response: past it, the service must learn again when its client leaves. */
const FREEZE_LIMIT_MS = 1000;
/** How often to check which connections are passed on by now: an upgrade that was under way ends without a sign. */
const RECOGNISE_MS = 1000;
/** A connection that never sent anything and has less than this left is answered 408 here. */
const MIN_HEAD_LEFT_MS = 1000;
/** How often a connection whose last bytes the kernel has not taken yet is looked at again. */
const FLUSH_RETRY_MS = 10;
/** The longest time between two looks at a connection over TLS that has not come to rest. */
const LONGEST_TLS_LOOK_MS = 160;
/** How often a connection that the receiver had no room for is offered again. */
const RETRY_MS = 100;

/** Moves every connection that is at rest to the other side of a channel, and the others when they come to rest. */
export class Outflow {
  /** Settles once all that can move at once has moved, the other side does not answer, or the outflow has stopped. */
  readonly settled: Promise<void>;
  /** Called each time when nothing is under way any more. */
  onIdle: () => void = () => {};
  #taker: number;
  #tracker: ConnectionTracker;
  readonly #rules: MoveRules;
  #batches: ConnectionBatches;
  #candidates = new Set<Tracked>();
  readonly #frozen = new FrozenConnections();
  #departures = new Map<Tracked, CarriedDeparture>();
  /** Why those over TLS have not come to rest, and when they are looked at again. */
  #unrest = new WeakMap<Tracked, { readonly why: string; readonly lookMs: number }>();
  readonly #sentBack = new WeakSet<Socket>();
  #between = new BetweenRequests();
  #isScheduled = false;
  #isStopped = false;
  #sweep: NodeJS.Timeout | undefined;
  #settle!: () => void;
  #offs: (() => void)[] = [];
  #onFinish = (message: unknown) => this.#finished((message as { socket: Socket }).socket);

  constructor(
    channel: Channel,
    tracker: ConnectionTracker,
    destination: Destination,
    carriedDestination: CarriedDestination = () => undefined,
  ) {
    this.#taker = channel.peer.pid;
    this.#tracker = tracker;
    this.#rules = new MoveRules(destination, carriedDestination);
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#batches = new ConnectionBatches(channel, {
      progress: () => this.#progressed(),
      returned: (tracked) => this.#returned(tracked),
      stuck: () => this.#batches.takeBack(),
    });
  }

  /** Connections that the other side acknowledged. */
  get moved(): number {
    return this.#batches.moved;
  }

  /** How long each stood still, in milliseconds, as the other side measured it. */
  get pausesMs(): readonly number[] {
    return this.#batches.pausesMs;
  }

  /** Connections that the other side could not restore, and closed. */
  get failed(): number {
    return this.#batches.failed;
  }

  /** Whether nothing is under way: all that has left has been adopted. */
  get isIdle(): boolean {
    return this.#isStopped || this.#batches.isIdle;
  }

  /**
   * Begins with all that are open now; goes on with those that open or come to rest later.
   * @param which where only some leave, what belongs to no connection stays with those that remain.
   */
  start(which: 'all' | 'some' = 'all'): void {
    subscribe('http.server.response.finish', this.#onFinish);
    this.#offs.push(this.#tracker.onOpened((tracked) => this.#offer(tracked)));
    this.#offs.push(this.#tracker.onClosed((tracked) => this.#closed(tracked)));
    this.#offs.push(onLook((socket) => this.#look(socket)));
    this.#offs.push(onSecured((socket) => this.#look(socket)));
    for (const mover of which === 'all' ? allMovers() : []) {
      mover.leaving?.();
      this.#offs.push(() => mover.staying?.());
    }
    this.#recognise();
    const looks = setInterval(() => this.#recognise(), RECOGNISE_MS).unref();
    this.#offs.push(() => clearInterval(looks));
    for (const tracked of this.#tracker.all()) if (this.#rules.canGo(tracked)) this.#candidates.add(tracked);
    this.#pump();
  }

  /** Whether a connection may still move, as opposed to being drained here. */
  canGo(socket: Socket): boolean {
    const tracked = this.#tracker.of(socketBelow(socket));
    return !this.#isStopped && tracked !== undefined && this.#rules.canGo(tracked);
  }

  /** Whether a connection that may move has not been taken: the other side does not answer, or had no room for it. */
  isHeldUp(socket: Socket): boolean {
    return this.canGo(socket) && (this.#batches.isSilent || this.#sentBack.has(socketBelow(socket)));
  }

  /** Why a connection that might have moved stays. @param isIdle whether it does not wait for a request or a response. */
  whyStays(tracked: Tracked, isIdle = false): string | undefined {
    const departure = this.#departures.get(tracked);
    const why = this.#rules.whyStays(tracked) ?? this.#unrest.get(tracked)?.why ?? departure?.whyBusy;
    if (why !== undefined || !isIdle || !this.isHeldUp(tracked.socket)) return why;
    return `the process that it goes to ${this.#batches.isSilent ? 'does not answer' : 'has no room for it'}`;
  }

  /** Moves nothing any more; what was frozen and not acknowledged is served here again. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    unsubscribe('http.server.response.finish', this.#onFinish);
    for (const off of this.#offs) off();
    clearInterval(this.#sweep);
    this.#batches.stop();
    this.#frozen.thawAll();
    for (const departure of this.#departures.values()) departure.stay();
    this.#departures.clear();
    this.#candidates.clear();
    this.#settle();
    this.onIdle();
  }

  #recognise(): void {
    for (const tracked of this.#tracker.all()) recogniseProxied(tracked);
  }

  #offer(tracked: Tracked): void {
    const isGone = this.#isStopped || tracked.socket.destroyed || this.#batches.has(tracked);
    if (isGone || !this.#rules.canGo(tracked)) return;
    this.#candidates.add(tracked);
    this.#schedule();
  }

  #look(socket: Socket): void {
    const tracked = this.#tracker.of(socketBelow(socket));
    if (tracked !== undefined) this.#offer(tracked);
  }

  #closed(tracked: Tracked): void {
    this.#candidates.delete(tracked);
    this.#departures.delete(tracked);
  }

  #returned(tracked: Tracked): void {
    const departure = this.#departures.get(tracked);
    if (departure === undefined) this.#sentBack.add(tracked.socket);
    if (departure?.error !== undefined) this.#stays(departure);
    else if (departure?.isToGoAtOnce) this.#offer(tracked);
    else setTimeout(() => this.#offer(tracked), RETRY_MS).unref();
  }

  #progressed(): void {
    if (this.#candidates.size > 0) this.#schedule();
    this.#checkSettled();
    if (this.isIdle) this.onIdle();
  }

  // The response is finished in this turn; the connection is at rest, or on to the next, when the turn ends.
  #finished(socket: Socket): void {
    const tracked = this.#tracker.of(socketBelow(socket));
    if (tracked === undefined || this.#batches.has(tracked) || !this.#rules.canGo(tracked)) return;
    this.#candidates.add(tracked);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(() => this.#pump());
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(() => this.#pump());
  }

  #pump(): void {
    this.#isScheduled = false;
    if (this.#isStopped) return;
    const timersNowMs = timerNowMs();
    const departing: Departing[] = [];
    let batchBytes = 0;
    let weight = 0;
    for (const tracked of this.#candidates) {
      if (weight >= BATCH_WEIGHT || batchBytes > MAX_BATCH_BYTES || this.#batches.isFull) break;
      this.#candidates.delete(tracked);
      // Where it belongs may have changed since it became one.
      if (!this.#rules.canGo(tracked)) {
        this.#frozen.thaw(tracked);
        continue;
      }
      const one = this.#prepare(tracked, timersNowMs);
      if (one === undefined) continue;
      batchBytes += this.#departures.get(tracked)?.usualBytes ?? 0;
      weight += one instanceof CarriedDeparture ? CARRIED_WEIGHT : HTTP1_WEIGHT;
      departing.push(one);
    }
    this.#between.endTurn();
    if (departing.length > 0) this.#send(departing);
    // With the window full, the next acknowledgement goes on.
    if (this.#candidates.size > 0 && !this.#batches.isFull) this.#schedule();
    this.#checkSettled();
  }

  #send(departing: readonly Departing[]): void {
    for (const { tracked } of departing) this.#frozen.forget(tracked);
    this.#batches.send(departing);
  }

  #prepare(tracked: Tracked, timersNowMs: number): Departing | undefined {
    const mover = this.#rules.moverOf(tracked);
    return mover === undefined
      ? this.#prepareHttp1(tracked, timersNowMs)
      : this.#prepareCarried(tracked, mover);
  }

  #prepareHttp1(tracked: Tracked, timersNowMs: number): Departing | undefined {
    this.#sentBack.delete(tracked.socket);
    const isTls = isHttps(tracked.server);
    const secured = isTls ? securedSocket(tracked) : undefined;
    // Its handshake is waited for here: whoever is told of its end offers it.
    if (isTls && secured === undefined) return undefined;
    const socket = secured ?? tracked.socket;
    switch (http1Phase(socket, this.#between.of(tracked.server as HttpServer))) {
      case 'rest': {
        if (this.#headIsNearlyDue(tracked)) return undefined;
        if (secured !== undefined) return this.#prepareTls(tracked, secured, timersNowMs);
        const listener = this.#rules.http1To(tracked);
        const frozenAtMs = this.#freeze(tracked);
        return new DepartingHttp1(tracked, listener, this.#taker, frozenAtMs, timersNowMs);
      }
      case 'flushing':
        this.#freeze(tracked);
        setTimeout(() => this.#offer(tracked), FLUSH_RETRY_MS).unref();
        return undefined;
      case 'responding':
        this.#freeze(tracked);
        return undefined;
      case 'receiving':
        this.#frozen.thaw(tracked);
        // Answered early, it comes to rest without a response when the rest of the request is there.
        onceReceived(socket, () => this.#offer(tracked));
        return undefined;
      case 'ended':
        this.#frozen.forget(tracked);
        return undefined;
    }
  }

  // One that is at rest for HTTP may still have part of a record: it reads on until that has come whole.
  #prepareTls(tracked: Tracked, socket: TLSSocket, timersNowMs: number): Departing | undefined {
    const listener = this.#rules.http1To(tracked);
    const frozenAtMs = this.#freeze(tracked);
    const terms = { listener, taker: this.#taker, frozenAtMs, timersNowMs };
    const one = DepartingTls.of(tracked, socket, terms);
    if (one instanceof DepartingTls) return one;
    this.#frozen.thaw(tracked);
    if (one.isForGood) {
      this.#rules.stays(tracked, one.why);
      return undefined;
    }
    const waitedMs = this.#unrest.get(tracked)?.lookMs ?? FLUSH_RETRY_MS / 2;
    const lookMs = Math.min(LONGEST_TLS_LOOK_MS, 2 * waitedMs);
    this.#unrest.set(tracked, { why: one.why, lookMs });
    setTimeout(() => this.#offer(tracked), lookMs).unref();
    return undefined;
  }

  #prepareCarried(tracked: Tracked, mover: Mover): Departing | undefined {
    const listener = this.#rules.carriedTo(tracked, mover);
    if (listener === undefined) return undefined;
    // Its handshake is waited for here, as of one that speaks HTTP.
    if (isTlsServer(tracked.server) && securedSocket(tracked) === undefined) return undefined;
    // It was an HTTP/1.1 connection until its upgrade.
    this.#frozen.thaw(tracked);
    const departure = this.#departureOf(tracked, mover, listener);
    switch (departure.step()) {
      case 'ready':
        if (this.#batches.carriedBytes < MAX_TOTAL_BYTES) return departure;
        departure.refuse(
          new MoultError('MOULT_DATA_TOO_LARGE', `expected at most ${MAX_TOTAL_BYTES} bytes of data in all`),
        );
        this.#stays(departure);
        return undefined;
      case 'later':
        if (departure.isStopped) this.#watch();
        if (!departure.isSaving) setTimeout(() => this.#offer(tracked), departure.nextLookMs).unref();
        return undefined;
      case 'gone':
        this.#stays(departure);
        return undefined;
    }
  }

  #departureOf(tracked: Tracked, mover: Mover, listener: string): CarriedDeparture {
    const known = this.#departures.get(tracked);
    if (known !== undefined) return known;
    const departure = new CarriedDeparture(tracked, mover, listener, this.#taker, this.#tracker, (one) =>
      this.#saved(one),
    );
    this.#departures.set(tracked, departure);
    return departure;
  }

  // In the turn in which its data is there, or not with that data.
  #saved(departure: CarriedDeparture): void {
    if (this.#isStopped) return;
    if (departure.error !== undefined) {
      this.#stays(departure);
      this.#checkSettled();
      return;
    }
    const one = this.#batches.isFull ? undefined : this.#prepareCarried(departure.tracked, departure.mover);
    if (one !== undefined) {
      this.#candidates.delete(departure.tracked);
      this.#send([one]);
    } else {
      departure.outdate();
      this.#offer(departure.tracked);
    }
  }

  #stays(departure: CarriedDeparture): void {
    this.#departures.delete(departure.tracked);
    if (departure.error === undefined) return;
    this.#rules.stays(departure.tracked, departure.error.message);
    departure.mover.stayed(departure.socket, departure.error);
  }

  #freeze(tracked: Tracked): number {
    this.#watch();
    return this.#frozen.freeze(tracked);
  }

  #watch(): void {
    this.#sweep ??= setInterval(() => this.#restOld(), FREEZE_LIMIT_MS / 4).unref();
  }

  #restOld(): void {
    this.#frozen.thawOlderThan(FREEZE_LIMIT_MS);
    for (const [tracked, departure] of this.#departures) {
      if (this.#batches.has(tracked)) continue;
      departure.rest();
      if (departure.error !== undefined) this.#stays(departure);
      else if (!departure.isStopped) this.#offer(tracked);
    }
    this.#checkSettled();
  }

  #headIsNearlyDue(tracked: Tracked): boolean {
    const dueMs = socketAbove(tracked.socket).bytesRead > 0 ? null : headDueAtMs(tracked);
    return dueMs !== null && dueMs - performance.now() < MIN_HEAD_LEFT_MS;
  }

  #checkSettled(): void {
    // Who waits for what moves at once does not wait for one that does not answer.
    if (this.#batches.isSilent) this.#settle();
    if (this.#candidates.size + this.#frozen.size > 0 || !this.#batches.isIdle) return;
    for (const departure of this.#departures.values()) if (departure.isStopped) return;
    this.#settle();
  }
}
