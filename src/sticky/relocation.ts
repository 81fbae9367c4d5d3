import type { Socket } from 'node:net';
import type { Outflow } from '../connections/moving/outflow.js';
import type { SpreadOutflow } from '../connections/moving/spread-outflow.js';
import type { GenerationContext } from '../handover/generation-context.js';
import { meetPeerSlots, outflowTo, type Taker } from '../handover/peer-slots.js';

/** How often to check whether any are left. */
const LOOK_MS = 1000;

/** Brings the connections that are here and belong to another slot there, as they come to rest, while this generation serves on. */
export class Relocation {
  readonly #context: GenerationContext;
  readonly #generation: number;
  readonly #doorOf: (socket: Socket) => string | undefined;
  readonly #isServing: () => boolean;
  /** By the door to which they lead. */
  readonly #moves = new Map<string, Move>();

  /** @param doorOf where the generation of another slot is found to which a connection belongs. */
  constructor(
    context: GenerationContext,
    generation: number,
    doorOf: (socket: Socket) => string | undefined,
    isServing: () => boolean,
  ) {
    this.#context = context;
    this.#generation = generation;
    this.#doorOf = doorOf;
    this.#isServing = isServing;
  }

  /** Looks which connections belong elsewhere now. */
  look(): void {
    if (!this.#isServing()) return;
    const doors = new Set<string>();
    for (const { socket } of this.#context.connections.all()) {
      const door = this.#doorOf(socket);
      if (door !== undefined) doors.add(door);
    }
    for (const [door, move] of this.#moves) if (!doors.has(door)) move.stop();
    for (const door of doors) if (!this.#moves.has(door)) this.#begin(door);
  }

  /** What has not moved stays: it may move another time. Within the turn in which it is called nothing moves any more. */
  stop(): void {
    for (const move of this.#moves.values()) move.stop();
  }

  #begin(door: string): void {
    const move = new Move(
      (taker) => outflowTo([taker], this.#context, (socket) => this.#doorOf(socket) === door),
      () => this.#context.connections.all().some(({ socket }) => this.#doorOf(socket) === door),
      () => {
        if (this.#moves.get(door) === move) this.#moves.delete(door);
      },
    );
    this.#moves.set(door, move);
    meetPeerSlots([door], this.#generation).then(([taker]) => {
      if (taker !== undefined && this.#isServing()) move.begin(taker);
      else {
        taker?.channel.close();
        move.stop();
      }
    });
  }
}

/** To one generation of another slot. */
class Move {
  readonly #make: (taker: Taker) => Outflow | SpreadOutflow;
  readonly #isNeeded: () => boolean;
  readonly #over: () => void;
  #outflow: Outflow | SpreadOutflow | undefined;
  #taker: Taker | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(make: (taker: Taker) => Outflow | SpreadOutflow, isNeeded: () => boolean, over: () => void) {
    this.#make = make;
    this.#isNeeded = isNeeded;
    this.#over = over;
  }

  begin(taker: Taker): void {
    if (this.#isStopped) {
      taker.channel.close();
      return;
    }
    taker.channel.unref();
    this.#taker = taker;
    const outflow = this.#make(taker);
    this.#outflow = outflow;
    taker.channel.closed.then(() => this.stop());
    this.#timer = setInterval(() => {
      if (outflow.isIdle && !this.#isNeeded()) this.stop();
    }, LOOK_MS).unref();
    outflow.start('some');
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#outflow?.stop();
    this.#taker?.channel.close();
    this.#over();
  }
}
