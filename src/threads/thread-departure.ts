import type { Server, Socket } from 'node:net';
import { threadId } from 'node:worker_threads';
import { endIdle, endIdleGently } from '../connections/close-idle.js';
import { Drain, type DrainTimes } from '../connections/drain.js';
import { endsHere } from '../connections/moving/ends-here.js';
import type { Outflow } from '../connections/moving/outflow.js';
import type { SpreadOutflow } from '../connections/moving/spread-outflow.js';
import type { Movables } from '../handover/generation-context.js';
import { meetPeerSlots, outflowTo, type Taker } from '../handover/peer-slots.js';
import type { Settled } from '../handover/threads.js';
import { quiet } from '../listeners/datagram-listener.js';
import { socketBelow } from '../node/tls-sockets.js';
import type { DrainReport } from '../protocol/messages.js';

/** How many pauses are told of. */
const MAX_PAUSES = 1000;

/** What a departure needs of its thread. */
export interface ThreadDepartureSurroundings {
  /** Whether connections still come from others. */
  isBeingFed(): boolean;
  /** Nothing is left. */
  drained(report: DrainReport): void;
}

/** The connections of one thread on their way out: to threads of another process, or to their end here. */
export class ThreadDeparture {
  readonly #context: Movables;
  readonly #around: ThreadDepartureSurroundings;
  readonly #servers: readonly Server[];
  readonly #times: DrainTimes;
  #takers: readonly Taker[] = [];
  #outflow: Outflow | SpreadOutflow | undefined;
  #drain: Drain | undefined;
  #isConfirmed = false;
  /** Datagrams may still be answered here. */
  #isAnswering = true;
  #isOver = false;

  constructor(context: Movables, times: DrainTimes, around: ThreadDepartureSurroundings) {
    this.#context = context;
    this.#around = around;
    this.#times = times;
    this.#servers = context.listeners.streams().map(({ server }) => server);
    quiet(context.listeners.datagrams()).then(() => {
      this.#isAnswering = false;
      this.#drain?.check();
    });
  }

  /** Gives what can move to these threads. @returns what left, when all that could at once has. */
  async goTo(doors: readonly string[], generation: number): Promise<Settled> {
    // A thread that does not greet is left out; until then all is served here.
    const takers = await meetPeerSlots(doors, generation);
    if (this.#isOver) {
      for (const { channel } of takers) channel.close();
      return { moved: 0, notRestored: 0, pausesMs: [] };
    }
    this.#takers = takers;
    const outflow = outflowTo(takers, this.#context, undefined, threadId);
    this.#outflow = outflow;
    this.#begin();
    outflow.start();
    await outflow.settled;
    const pausesMs = outflow.pausesMs.slice(0, MAX_PAUSES);
    return { moved: outflow.moved, notRestored: outflow.failed, pausesMs };
  }

  /** Nothing moves: what asks for nothing is closed. @param isSoonBack whether clients find the service again in a moment. */
  endHere(isSoonBack: boolean): void {
    const end = isSoonBack ? endIdleGently : endIdle;
    end(this.#context.connections, this.#servers);
    this.#begin();
  }

  /** It will not be called back. */
  confirm(): void {
    this.#isConfirmed = true;
    if (this.#drain?.isFinished) this.#finish(this.#drain);
    else this.#drain?.check();
  }

  /** Looks whether the end has come. */
  check(): void {
    this.#drain?.check();
  }

  /** What has not gone stays, as if nothing had been. */
  stop(): void {
    this.#isOver = true;
    this.#outflow?.stop();
    this.#drain?.stop();
    for (const { channel } of this.#takers) channel.close();
  }

  #begin(): void {
    const outflow = this.#outflow;
    const mayEndHere = endsHere(outflow, this.#times.timeoutMs);
    const drain = new Drain(
      this.#context.connections,
      this.#servers,
      this.#times,
      (socket, server) => this.#isOurs(socket, server) && mayEndHere(socket),
      () =>
        this.#isConfirmed &&
        !this.#isAnswering &&
        !this.#around.isBeingFed() &&
        (outflow === undefined || outflow.isIdle),
      (tracked, isIdle) => outflow?.whyStays(tracked, isIdle),
    );
    this.#drain = drain;
    if (outflow !== undefined) outflow.onIdle = () => drain.check();
    drain.finished.then(() => this.#finish(drain));
  }

  #isOurs(socket: Socket, server: Server): boolean {
    const { connections, listeners } = this.#context;
    // As in the main thread: one server may have accepted it, and another answer.
    return connections.of(socketBelow(socket)) !== undefined || listeners.of(server) !== undefined;
  }

  // Within probation there may still be a way back.
  #finish(drain: Drain): void {
    if (!this.#isConfirmed || this.#isOver) return;
    this.#isOver = true;
    const moved = this.#outflow?.moved ?? 0;
    this.#outflow?.stop();
    for (const { channel } of this.#takers) channel.close();
    this.#around.drained({
      moved,
      drained: Math.max(0, drain.drained - moved),
      cut: drain.cut.slice(0, 1000),
    });
  }
}
