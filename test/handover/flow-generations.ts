import type { RemoteInfo, Socket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { FlowExchange } from '#moult/handover/flow-exchange.js';
import type { FlowPeer } from '#moult/handover/flow-peer.js';
import { datagramFlows } from '#moult/library/flows.js';
import type { ListenerRegistry } from '#moult/listeners/registry.js';
import { End } from '../support/end.js';

const NAME = 'udp://127.0.0.1:5353';
const LISTENERS = new Set([NAME]);

/** What a service was given, in the order in which all services were. */
export interface Given {
  readonly generation: number;
  readonly client: number;
  /** Which of the datagrams of the client. */
  readonly number: number;
  /** Which of its session, as the service counts. */
  readonly place: number;
}

/** One generation with a service that has a session with each client. */
export class FlowGeneration {
  readonly number: number;
  readonly exchange: FlowExchange;
  readonly sessions = new Map<number, number>();
  readonly flows;
  state: 'gated' | 'open' | 'paused' = 'gated';
  /** By which it tells of its flows, since it receives no more. */
  tells: FlowPeer | undefined;
  /** Whether the other side of that has said that it receives. */
  hasCommitted = false;
  isGone = false;
  readonly ends: End[] = [];
  readonly #socket = new EventEmitter() as unknown as Socket;

  constructor(number: number, perSession: number, given: (what: Given) => void) {
    this.number = number;
    const generation = this;
    const listener = {
      identity: { name: NAME },
      socket: this.#socket,
      get state() {
        return generation.state;
      },
    };
    this.exchange = new FlowExchange({ datagrams: () => [listener] } as unknown as ListenerRegistry);
    this.flows = datagramFlows(this.#socket, { key: (_, { port }) => String(port) });
    this.#socket.on('message', (message: Buffer, { port: client }: RemoteInfo) => {
      if (!this.sessions.has(client)) this.flows.begin(String(client));
      const place = (this.sessions.get(client) ?? 0) + 1;
      this.sessions.set(client, place);
      given({ generation: number, client, number: Number(String(message)), place });
      if (place === perSession) this.endSession(client);
    });
  }

  endSession(client: number): void {
    this.sessions.delete(client);
    this.flows.end(String(client));
  }

  /** From the kernel. */
  receive(client: number, number: number): void {
    const message = Buffer.from(String(number));
    const remote = { address: '127.0.0.1', family: 'IPv4' as const, port: client, size: message.length };
    this.#socket.emit('message', message, remote);
  }

  tell(peer: FlowPeer): void {
    peer.tell(LISTENERS);
    this.tells = peer;
  }
}

/**
 * Generations of a service with sessions over UDP, in one process. What they say to each other waits until it is let
 * through; handovers go as those of predecessor.ts, undo.ts and hand-back.ts.
 */
export class FlowGenerations {
  readonly all: FlowGeneration[] = [];
  readonly given: Given[] = [];
  readonly perSession: number;
  /** The receive queue that all share. */
  readonly queue: { client: number; number: number }[] = [];
  readonly #sent = new Map<number, number>();
  /** The last handover, until it is confirmed: it may be undone. */
  #probation: { from: FlowGeneration; to: FlowGeneration; peer: FlowPeer; near: End } | undefined;
  #isBusy = false;

  constructor(perSession = 3) {
    this.perSession = perSession;
    this.#start().state = 'open';
  }

  get serving(): FlowGeneration | undefined {
    return this.all.find(({ state, isGone }) => state === 'open' && !isGone);
  }

  at(number: number): FlowGeneration {
    const generation = this.all[number];
    if (generation === undefined) throw new Error(`expected generation ${number} to have been started`);
    return generation;
  }

  /** A client sends its next datagram. */
  send(client: number): void {
    const number = this.#sent.get(client) ?? 0;
    this.#sent.set(client, number + 1);
    this.queue.push({ client, number });
  }

  sent(client: number): number {
    return this.#sent.get(client) ?? 0;
  }

  /** Who serves takes the next datagram of the queue. */
  receive(): boolean {
    const { serving } = this;
    const next = serving && this.queue.shift();
    if (next === undefined) return false;
    serving?.receive(next.client, next.number);
    return true;
  }

  /** A client sends, and who serves receives it, with all before it. */
  async come(client: number): Promise<void> {
    this.send(client);
    await this.settle();
  }

  /** A successor takes over from who serves; it receives once `commit` has been let through. */
  restart(): boolean {
    const { serving: from } = this;
    if (from === undefined || this.#isBusy) return false;
    const to = this.#start();
    const [near, far] = End.pair(1, 1);
    from.ends.push(near);
    to.ends.push(far);
    const peer = from.exchange.join(near.channel);
    const back = to.exchange.join(far.channel);
    this.#isBusy = true;
    from.state = 'paused';
    from.hasCommitted = false;
    from.tell(peer);
    far.on('commit', () => {
      to.state = 'open';
      from.hasCommitted = true;
      this.#isBusy = false;
      this.#probation = { from, to, peer, near };
    });
    far.on('hand-back', () => {
      to.state = 'paused';
      back.acknowledged(2 ** 30).then(() => {
        to.tell(back);
        far.send({ type: 'handed-back' });
      });
    });
    near.send({ type: 'commit' });
    return true;
  }

  /** The handover is undone: the predecessor receives again once `hand-back` and `handed-back` have been let through. */
  undo(): boolean {
    const probation = this.#probation;
    if (probation === undefined || this.#isBusy || probation.from.isGone) return false;
    const { from, to, peer, near } = probation;
    this.#probation = undefined;
    this.#isBusy = true;
    near.on('handed-back', () => {
      from.state = 'open';
      from.tells = undefined;
      peer.stopTelling();
      to.hasCommitted = true;
      this.#isBusy = false;
    });
    near.send({ type: 'hand-back' });
    return true;
  }

  /** One that has nothing more to do ends, but for one that may have to serve again. */
  leave(generation: FlowGeneration): boolean {
    const { tells, hasCommitted, isGone, state } = generation;
    if (isGone || state !== 'paused' || !hasCommitted || tells?.isDone !== true) return false;
    if (this.#isBusy) return false;
    if (this.#probation?.from === generation) this.#probation = undefined;
    this.end(generation);
    return true;
  }

  /** Its drain time-out is over: it ends its sessions, and its process when nothing is left for it. */
  async cut(generation: FlowGeneration): Promise<void> {
    generation.sessions.clear();
    await generation.tells?.leave(2 ** 30);
    this.end(generation);
  }

  /** Its process ends. */
  end(generation: FlowGeneration): void {
    generation.isGone = true;
    if (this.#probation?.from === generation || this.#probation?.to === generation)
      this.#probation = undefined;
    for (const end of generation.ends) end.close();
  }

  /** Those ends at which something waits. */
  waiting(): End[] {
    return this.all
      .flatMap(({ ends }) => ends)
      .filter((end) => !end.isClosed && (end.waiting > 0 || end.other.isClosed));
  }

  /** Lets everything through, until nothing happens any more. */
  async settle(): Promise<void> {
    for (let isQuiet = false; !isQuiet; ) {
      isQuiet = true;
      for (const end of this.waiting()) while (end.deliver()) isQuiet = false;
      while (this.receive()) isQuiet = false;
      await turn();
      if (this.waiting().length > 0 || (this.queue.length > 0 && this.serving !== undefined)) isQuiet = false;
    }
  }

  /** All clients bring the sessions to their end that have begun. */
  async finish(): Promise<void> {
    await this.settle();
    for (const client of this.#sent.keys())
      while (this.all.some(({ isGone, sessions }) => !isGone && sessions.has(client)))
        await this.come(client);
    await this.settle();
  }

  /** Where what the services were given is not in order, or a session is in two of them. */
  problems(): string[] {
    const problems: string[] = [];
    const last = new Map<number, Given>();
    for (const now of this.given) {
      const { client, generation, number, place } = now;
      const before = last.get(client);
      last.set(client, now);
      const isFirst = place === 1 && (before === undefined || before.place === this.perSession);
      const goesOn = before?.generation === generation && place === before.place + 1;
      if (number === (before?.number ?? -1) + 1 && (isFirst || goesOn)) continue;
      problems.push(`client ${client}: ${text(before)}, then ${text(now)}`);
    }
    return problems;
  }

  #start(): FlowGeneration {
    const started = new FlowGeneration(this.all.length, this.perSession, (what) => this.given.push(what));
    this.all.push(started);
    return started;
  }
}

function text(given: Given | undefined): string {
  if (given === undefined) return 'nothing';
  return `datagram ${given.number} in generation ${given.generation} at place ${given.place}`;
}
