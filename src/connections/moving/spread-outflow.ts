import type { Socket } from 'node:net';
import type { Tracked } from '../tracker.js';
import type { Outflow } from './outflow.js';

/** Several outflows that share the connections of one process between them, each to a side of its own. */
export class SpreadOutflow {
  /** Settles once all that can move at once has moved, or the outflows have stopped. */
  readonly settled: Promise<void>;
  readonly #parts: readonly Outflow[];

  constructor(parts: readonly Outflow[]) {
    this.#parts = parts;
    this.settled = Promise.all(parts.map((one) => one.settled)).then(() => {});
  }

  /** Called each time when nothing is under way any more. */
  set onIdle(callback: () => void) {
    for (const one of this.#parts) {
      one.onIdle = () => {
        if (this.isIdle) callback();
      };
    }
  }

  get isIdle(): boolean {
    return this.#parts.every((one) => one.isIdle);
  }

  /** Connections that the other sides acknowledged. */
  get moved(): number {
    return this.#parts.reduce((sum, one) => sum + one.moved, 0);
  }

  /** Connections that the other sides could not restore, and closed. */
  get failed(): number {
    return this.#parts.reduce((sum, one) => sum + one.failed, 0);
  }

  /** How long each stood still, in milliseconds. */
  get pausesMs(): readonly number[] {
    return this.#parts.flatMap((one) => one.pausesMs);
  }

  start(which: 'all' | 'some' = 'all'): void {
    for (const one of this.#parts) one.start(which);
  }

  stop(): void {
    for (const one of this.#parts) one.stop();
  }

  /** Whether a connection may still move. */
  canGo(socket: Socket): boolean {
    return this.#parts.some((one) => one.canGo(socket));
  }

  /** Whether a connection that may move has not come through. */
  isHeldUp(socket: Socket): boolean {
    return this.#parts.some((one) => one.isHeldUp(socket));
  }

  /** Why a connection that its service had declared movable stays. */
  whyStays(tracked: Tracked, isIdle = false): string | undefined {
    return this.#parts.map((one) => one.whyStays(tracked, isIdle)).find((why) => why !== undefined);
  }
}

/** Gives each connection to one of several, in turn, and always to the same. */
export class Turns {
  readonly #of = new WeakMap<Socket, number>();
  #next: number;

  /** @param first whose turn it is. */
  constructor(first = 0) {
    this.#next = first;
  }

  /** @param candidates to whom the connection can go; asked at its first call. */
  isOf(socket: Socket, which: number, candidates: () => readonly number[]): boolean {
    let whose = this.#of.get(socket);
    if (whose === undefined) {
      const all = candidates();
      whose = all[this.#next % Math.max(1, all.length)] ?? -1;
      this.#next += 1;
      this.#of.set(socket, whose);
    }
    return whose === which;
  }
}
