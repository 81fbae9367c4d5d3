/*
 * Sticky sessions: which slot serves a connection is decided when it has been accepted and nobody has read of it. One
 * that belongs to another slot is given to that slot's generation, as it stands.
 */
import type { Socket } from 'node:net';
import { freshOf } from '../connections/fresh-outflow.js';
import { addressKey, homeOf } from '../connections/home.js';
import type { Receiver } from '../connections/inflow.js';
import { StreamListener } from '../listeners/stream-listener.js';
import { peerAddress, type Steer } from '../node/accepted.js';
import type { Message } from '../protocol/messages.js';
import { type Arrival, Elsewhere } from './elsewhere.js';
import type { Estate } from './estate.js';
import { Homing } from './homing.js';

/** What steering needs to know. */
export interface SteeringParts {
  readonly estate: Estate;
  /** The number of this generation. */
  readonly generation: number;
  /** Whether this generation accepts. */
  isServing(): boolean;
  /** No connection is on its way to another slot, or waits for one, any more. */
  idle(): void;
}

/** Gives connections to the slots to which their clients belong, and takes those that belong here. */
export class Steering implements Receiver {
  readonly #parts: SteeringParts;
  readonly #elsewhere = new Map<number, Elsewhere>();
  /** Slots that are none any more, while something is on its way there. */
  readonly #ending = new Set<Elsewhere>();
  readonly #homing: Homing;
  #own = -1;
  #slots: readonly number[] = [];
  /** Where the other slots are found; null where nobody serves. */
  #doors: ReadonlyMap<number, string | null> = new Map();
  #isStopped = false;

  constructor(parts: SteeringParts) {
    this.#parts = parts;
    const { estate, generation } = parts;
    this.#homing = new Homing(
      estate,
      generation,
      (socket) => this.doorOf(socket),
      () => parts.isServing(),
    );
  }

  /** Whether no connection is on its way to another slot, or waits for one. */
  get isIdle(): boolean {
    return [...this.#elsewhere.values(), ...this.#ending].every(({ isIdle }) => isIdle);
  }

  /** Learns to which slots clients belong from now on. */
  learn({ own, slots }: Message<'homes'>): void {
    if (this.#isStopped) return;
    this.#own = own;
    this.#slots = slots.map(({ slot }) => slot);
    const doors = new Map(slots.filter(({ slot }) => slot !== own).map(({ slot, door }) => [slot, door]));
    for (const [slot, door] of doors) {
      const known = this.#elsewhere.get(slot) ?? this.#newElsewhere();
      this.#elsewhere.set(slot, known);
      known.moveTo(door);
    }
    this.#doors = doors;
    this.#endAllBut(doors);
    this.#homing.look();
  }

  /** Where the generation of another slot is found to which this connection belongs; undefined for one that belongs here, or to none. */
  doorOf({ remoteAddress }: Socket): string | undefined {
    if (remoteAddress === undefined || this.#elsewhere.size === 0) return undefined;
    const home = homeOf(addressKey(remoteAddress), this.#slots);
    return this.#doors.get(home ?? -1) ?? undefined;
  }

  /** Connections that are here stay, wherever they belong: this generation ends, or another one takes over. */
  stopHoming(): void {
    this.#homing.stop();
  }

  /** Decides of each connection that this listener accepts from now on. */
  watch(listener: StreamListener): void {
    listener.steer(this.#steer(listener));
  }

  /** Nobody is waited for any more: what waits is served here, and what is here stays. */
  stop(): void {
    this.#isStopped = true;
    this.#slots = [];
    this.#homing.stop();
    this.#endAllBut(new Map());
  }

  mayTake(): boolean {
    return this.#parts.isServing();
  }

  into(name: string): ((fd: number) => void) | undefined {
    const listener = this.#parts.estate.listeners.named(name);
    return listener instanceof StreamListener ? (fd) => listener.accept(fd) : undefined;
  }

  #steer(listener: StreamListener): Steer {
    return (handle, serve) => {
      if (this.#elsewhere.size === 0) return false;
      const address = peerAddress(handle);
      // A Unix socket has none, and of one that is gone the server is to hear.
      if (address === undefined) return false;
      const fresh = freshOf(handle, listener.identity.name);
      return this.#take({ fresh, key: addressKey(address), serve });
    };
  }

  #take(arrival: Arrival): boolean {
    const home = homeOf(arrival.key, this.#slots);
    if (home === undefined || home === this.#own) return false;
    return this.#elsewhere.get(home)?.take(arrival) ?? false;
  }

  #newElsewhere(): Elsewhere {
    const elsewhere: Elsewhere = new Elsewhere(this.#parts.generation, {
      orphaned: (arrival) => {
        if (!this.#take(arrival)) arrival.serve();
      },
      found: () => this.#homing.look(),
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
