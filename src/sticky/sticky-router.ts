/*
 * Sticky sessions: which slot serves a connection is decided when it has been accepted and nobody has read of it. One
 * that belongs to another slot is given to that slot's generation, as it stands.
 */
import type { Socket } from 'node:net';
import { freshOf } from '../connections/moving/fresh-outflow.js';
import type { GenerationContext, SlotRouting } from '../handover/generation-context.js';
import { StreamListener } from '../listeners/stream-listener.js';
import type { StreamHandle } from '../node/handle.js';
import { isPlainHttp } from '../node/http/http1.js';
import { peerAddress, type Steer } from '../node/listening/accepted.js';
import type { Message } from '../protocol/messages.js';
import { PeekHead } from './peek-head.js';
import { Relocation } from './relocation.js';
import { addressKey, rendezvousHash } from './rendezvous-hash.js';
import { RequestKeys } from './request-keys.js';
import { type MisplacedConnection, SlotQueue } from './slot-queue.js';

/** How many may be waited for to say whose they are; more are known by their addresses. */
const MAX_UNDECIDED = 4096;

/** How long they are waited for once this generation accepts no more: the connection may be a moment old. */
const LAST_HEAD_MS = 2000;

/** What routing needs to know. */
export interface StickyRouterParts {
  readonly context: GenerationContext;
  /** The number of this generation. */
  readonly generation: number;
  /** Whether this generation accepts. */
  isServing(): boolean;
  /** Whether a connection is no client's, and was taken by somebody else. */
  isTaken?(handle: StreamHandle, listener: string): boolean;
  /** No connection is on its way to another slot, or waits for one, any more. */
  idle(): void;
}

/** Gives connections to the slots to which their clients belong, and takes those that belong here. */
export class StickyRouter implements SlotRouting {
  readonly #parts: StickyRouterParts;
  readonly #elsewhere = new Map<number, SlotQueue>();
  /** Slots that are none any more, while something is on its way there. */
  readonly #ending = new Set<SlotQueue>();
  readonly #relocation: Relocation;
  /** Connections of which it is not known yet whose they are. */
  readonly #undecided = new Set<PeekHead>();
  readonly #requests: RequestKeys;
  #cookie: string | undefined;
  #own = -1;
  #slots: readonly number[] = [];
  /** Where the other slots are found; null where nobody serves. */
  #doors: ReadonlyMap<number, string | null> = new Map();
  #isStopped = false;

  constructor(parts: StickyRouterParts) {
    this.#parts = parts;
    const { context, generation } = parts;
    this.#relocation = new Relocation(
      context,
      generation,
      (socket) => this.doorOf(socket),
      () => parts.isServing(),
    );
    this.#requests = new RequestKeys((socket) => {
      if (this.doorOf(socket) !== undefined) this.#relocation.look();
    });
  }

  /** Whether no connection is on its way to another slot, or waits for one. */
  get isIdle(): boolean {
    if (this.#undecided.size > 0) return false;
    return [...this.#elsewhere.values(), ...this.#ending].every(({ isIdle }) => isIdle);
  }

  /** Learns to which slots clients belong from now on. */
  learn({ own, slots, cookie }: Message<'homes'>): void {
    if (this.#isStopped) return;
    this.#cookie = cookie;
    this.#requests.watch(cookie);
    this.#own = own;
    this.#slots = slots.map(({ slot }) => slot);
    const doors = new Map(slots.filter(({ slot }) => slot !== own).map(({ slot, door }) => [slot, door]));
    for (const [slot, door] of doors) {
      const known = this.#elsewhere.get(slot) ?? this.#newElsewhere(slot);
      this.#elsewhere.set(slot, known);
      known.moveTo(door);
    }
    this.#doors = doors;
    this.#endAllBut(doors);
    this.#relocation.look();
  }

  /** Where the generation of another slot is found to which this connection belongs; undefined for one that belongs here, or to none. */
  doorOf(socket: Socket): string | undefined {
    if (this.#elsewhere.size === 0) return undefined;
    const { remoteAddress } = socket;
    const byAddress = remoteAddress === undefined ? undefined : addressKey(remoteAddress);
    const key = this.#cookie === undefined ? byAddress : this.#requests.of(socket);
    const home = key === undefined ? undefined : rendezvousHash(key, this.#slots);
    return this.#doors.get(home ?? -1) ?? undefined;
  }

  /** Connections that are here stay, wherever they belong, and nobody is waited for long to say whose he is: this generation ends, or another one takes over. */
  stopRelocating(): void {
    this.#relocation.stop();
    for (const head of this.#undecided) head.hurry(LAST_HEAD_MS);
  }

  /** Decides of each connection that this listener accepts from now on. */
  watch(listener: StreamListener): void {
    listener.steer(this.#steer(listener));
  }

  /** Nobody is waited for any more: what waits is served here, and what is here stays. */
  stop(): void {
    this.#isStopped = true;
    this.#slots = [];
    this.#requests.watch(undefined);
    this.#relocation.stop();
    for (const head of [...this.#undecided]) head.decide();
    this.#endAllBut(new Map());
  }

  mayTake(): boolean {
    return this.#parts.isServing();
  }

  into(name: string): ((fd: number) => void) | undefined {
    const listener = this.#parts.context.listeners.named(name);
    return listener instanceof StreamListener ? (fd) => listener.accept(fd) : undefined;
  }

  #steer(listener: StreamListener): Steer {
    return (handle, serve) => {
      if (this.#parts.isTaken?.(handle, listener.identity.name)) return true;
      if (this.#elsewhere.size === 0) return false;
      const address = peerAddress(handle);
      // A Unix socket has none, and of one that is gone the server is to hear.
      if (address === undefined) return false;
      const fresh = freshOf(handle, listener.identity.name);
      const arrival = { fresh, key: addressKey(address), serve };
      const cookie = isPlainHttp(listener.server) ? this.#cookie : undefined;
      if (cookie === undefined || this.#undecided.size >= MAX_UNDECIDED) return this.#take(arrival);
      this.#decideBy(cookie, arrival);
      return true;
    };
  }

  // A client without the cookie is known by its address.
  #decideBy(cookie: string, arrival: MisplacedConnection): void {
    const head = new PeekHead(arrival.fresh.handle.fd, cookie, (value) => {
      this.#undecided.delete(head);
      const key = value === undefined ? arrival.key : `${cookie}=${value}`;
      if (!this.#take({ ...arrival, key })) arrival.serve();
      if (this.isIdle) this.#parts.idle();
    });
    this.#undecided.add(head);
  }

  #take(arrival: MisplacedConnection): boolean {
    const home = rendezvousHash(arrival.key, this.#slots);
    if (home === undefined || home === this.#own) return false;
    return this.#elsewhere.get(home)?.take(arrival) ?? false;
  }

  #newElsewhere(slot: number): SlotQueue {
    const elsewhere: SlotQueue = new SlotQueue(this.#parts.generation, {
      orphaned: (arrival) => {
        if (!this.#take(arrival)) arrival.serve();
      },
      away: (ms) => {
        const what = `slot ${slot} could not be reached for ${Math.round(ms)} ms`;
        process.emitWarning(
          `${what}: slot ${this.#own} serves its new clients until it can be`,
          'MoultWarning',
        );
      },
      found: () => this.#relocation.look(),
      idle: () => {
        if (elsewhere.isIdle) this.#ending.delete(elsewhere);
        if (this.isIdle) this.#parts.idle();
      },
    });
    return elsewhere;
  }

  #endAllBut(slots: ReadonlyMap<number, unknown>): void {
    for (const [slot, elsewhere] of this.#elsewhere) {
      if (slots.has(slot)) continue;
      this.#elsewhere.delete(slot);
      this.#ending.add(elsewhere);
      elsewhere.end();
    }
  }
}
