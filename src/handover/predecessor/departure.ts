import type { Server, Socket } from 'node:net';
import { type Cut, Drain, type DrainTimes } from '../../connections/drain.js';
import { endsHere } from '../../connections/moving/ends-here.js';
import type { Outflow } from '../../connections/moving/outflow.js';
import type { SpreadOutflow } from '../../connections/moving/spread-outflow.js';
import type { Tracked } from '../../connections/tracker.js';
import type { RemainingConnections } from '../../lifecycle/restart-record.js';
import { type DatagramListener, quiet } from '../../listeners/datagram-listener.js';
import { isHttps, socketBelow } from '../../node/tls-sockets.js';
import { MAX_CUT, MAX_DRAINING, MAX_REASONS } from '../../protocol/limits.js';
import type { DrainReport, GenerationState, Settings } from '../../protocol/messages.js';
import type { FlowPeer } from '../flow-peer.js';
import type { GenerationContext, Moves } from '../generation-context.js';
import type { Giving } from '../giving.js';
import { outflowTo, type Taker } from '../peer-slots.js';

/** How long a successor may take to know that flows of datagrams are its own now. */
const FLOWS_TIMEOUT_MS = 1000;
const FLOW_LEFT = 'a flow of datagrams: it had not ended';

/** What still has work here although another generation accepts, or none. */
export interface Work {
  readonly servers: readonly Server[];
  readonly datagrams: readonly DatagramListener[];
}

/** How a generation leaves. */
export interface DepartureTerms {
  /** To whom its connections go; where there is nobody, all come to their end here. */
  readonly takers: readonly Taker[];
  /** Those of the takers that were met for this only: their channels are closed when it has ended. */
  readonly heirs: readonly Taker[];
  readonly times: DrainTimes;
  readonly flows: FlowPeer | undefined;
  readonly giving: Pick<Giving, 'isOver'> | undefined;
  /** Whether there is no way back; until then it is not over. */
  isForGood(): boolean;
  /** Nothing is left here. Told once. */
  over(report: DrainReport): void;
}

/** What a generation has leaves it: what can move goes to the other side, everything else comes to its end here. */
export class Departure {
  readonly outflow: Outflow | SpreadOutflow | undefined;
  /** Settles when the operator has been told what has moved, where that is to be told: it is not over before. */
  told: Promise<void> | undefined;
  readonly #context: GenerationContext;
  readonly #terms: DepartureTerms;
  readonly #drain: Drain;
  readonly #mayEndHere: (socket: Socket) => boolean;
  #isAnswering: boolean;
  #isOver = false;
  #isStopped = false;

  constructor(context: GenerationContext, { servers, datagrams }: Work, terms: DepartureTerms) {
    const { takers, times, flows } = terms;
    this.#context = context;
    this.#terms = terms;
    this.#isAnswering = datagrams.length > 0;
    this.outflow = takers.length === 0 ? undefined : outflowTo(takers, context);
    this.#mayEndHere = endsHere(this.outflow, times.timeoutMs);
    for (const { channel } of takers) channel.ref();
    const drain = new Drain(
      context.connections,
      servers,
      times,
      (socket, server) => this.#endsHere(socket, server),
      () => this.#hasNothingElse(),
      (tracked, isIdle) => this.#whyStays(tracked, isIdle),
    );
    this.#drain = drain;
    const check = () => drain.check();
    context.threads.onDrained = check;
    if (flows !== undefined) flows.onDone = check;
    if (this.outflow !== undefined) this.outflow.onIdle = check;
    quiet(datagrams).then(() => {
      this.#isAnswering = false;
      check();
    });
    drain.finished.then(() => this.#finish());
    this.outflow?.start();
  }

  /** Why connections are still here, the most frequent reason first. */
  remaining(): RemainingConnections[] {
    const counts = new Map<string, number>();
    for (const tracked of this.#context.connections.all()) {
      const reason = this.#drain.whyOpen(tracked);
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
    }
    return [...counts]
      .map(([reason, connections]) => ({ reason, connections }))
      .sort((a, b) => b.connections - a.connections)
      .slice(0, MAX_REASONS);
  }

  /** Milliseconds until what is left is cut; negative while that is under way. */
  get cutInMs(): number {
    return this.#drain.cutInMs;
  }

  /** The first of the connections that are still here. */
  connections(most: number): Cut[] {
    return this.#drain.connections(most);
  }

  /** Looks whether it is over; called when something ended elsewhere. */
  check(): void {
    if (this.#drain.isFinished) this.#finish();
    else this.#drain.check();
  }

  /** Nobody takes anything any more. */
  stopMoving(): void {
    this.outflow?.stop();
  }

  /** What is here stays. */
  stop(): void {
    this.#isOver = true;
    this.#isStopped = true;
    this.outflow?.stop();
    this.#drain.stop();
    this.closeHeirs();
  }

  /** Whether what is here stays after all. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** It has ended, and has been told of. */
  closeHeirs(): void {
    for (const { channel } of this.#terms.heirs) channel.close();
  }

  /** What still ends here. @param named whether the first of the connections are told. */
  draining(named: boolean): NonNullable<GenerationState['draining']> {
    const connections = named ? { connections: this.connections(MAX_DRAINING) } : {};
    return { remaining: this.remaining(), cutInMs: this.cutInMs, ...connections };
  }

  // The other side must have begun with what it was given last: a process that ends may take it along.
  #hasNothingElse(): boolean {
    const { flows, giving } = this.#terms;
    return (
      this.#terms.isForGood() &&
      !this.#isAnswering &&
      this.#context.threads.isDrained &&
      flows?.isDone !== false &&
      !this.#context.isBeingFed() &&
      !this.#context.listeners.hasMomentary &&
      this.#context.tasks.isIdle &&
      giving?.isOver !== false &&
      (this.outflow === undefined || this.outflow.isIdle)
    );
  }

  #endsHere(socket: Socket, server: Server): boolean {
    const { connections, listeners } = this.#context;
    // A service may have accepted it by one server, and given it to another that listens nowhere, such as one of TLS.
    const isOurs = connections.of(socketBelow(socket)) !== undefined || listeners.of(server) !== undefined;
    return isOurs && this.#mayEndHere(socket);
  }

  #whyStays(tracked: Tracked, isIdle: boolean): string | undefined {
    return this.outflow?.whyStays(tracked, isIdle) ?? whyTlsDrains(tracked, this.#context.moves);
  }

  // A drain that reaches its deadline within probation ends the connections, not the probation.
  #finish(): void {
    if (this.#isOver || !this.#terms.isForGood()) return;
    this.#isOver = true;
    const { flows } = this.#terms;
    if (flows === undefined || flows.isDone) this.#report([]);
    else flows.leave(FLOWS_TIMEOUT_MS).then((left) => this.#report(left));
  }

  #report(flowsLeft: readonly { readonly key: string; readonly ageMs: number }[]): void {
    const moved = this.outflow?.moved ?? 0;
    this.outflow?.stop();
    const cutFlows = flowsLeft.map(({ key, ageMs }) => ({ peer: key, ageMs, reason: FLOW_LEFT }));
    const report = {
      moved,
      drained: Math.max(0, this.#drain.drained - moved),
      cut: [...this.#drain.cut, ...cutFlows].slice(0, MAX_CUT),
    };
    const over = () => this.#terms.over(report);
    if (this.told === undefined) over();
    else this.told.then(over, over);
  }
}

/** The times of a drain, as settings and messages have them. */
export function drainTimesOf({
  drainTimeoutMs,
  drainSpreadMs = 0,
}: Pick<Settings, 'drainTimeoutMs' | 'drainSpreadMs'>): DrainTimes {
  return { timeoutMs: drainTimeoutMs, spreadMs: drainSpreadMs };
}

function whyTlsDrains({ server }: Tracked, { tls }: Moves): string | undefined {
  if (!isHttps(server)) return undefined;
  if (tls === undefined) return 'TLS: it drains unless the service runs with --tls move';
  return tls === 'yes' ? undefined : `TLS: ${tls}`;
}
