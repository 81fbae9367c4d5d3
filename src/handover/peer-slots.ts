import type { Server, Socket } from 'node:net';
import type { Channel } from '../channel/channel.js';
import { openWhenGreeted } from '../channel/open.js';
import type { CarriedDestination, Destination } from '../connections/moving/move-rules.js';
import { Outflow } from '../connections/moving/outflow.js';
import { SpreadOutflow, Turns } from '../connections/moving/spread-outflow.js';
import { MoultError } from '../errors.js';
import { isPlainHttp } from '../node/http/http1.js';
import { isHttps, isTlsServer } from '../node/tls-sockets.js';
import type { Message } from '../protocol/messages.js';
import type { GenerationContext, Movables, SlotRouting } from './generation-context.js';

/** How long another generation may take to say what it takes. */
const TAKES_TIMEOUT_MS = 2000;
/** How long connections that are to be given may take to come to rest. */
const GIVE_LIMIT_MS = 2000;

type Claims = Message<'ready'>['claims'];

/** The other side of a move: a successor, a predecessor, or the generation of another slot. */
export interface Taker {
  readonly channel: Channel;
  /** What it can take. */
  readonly claims: Claims;
  /** Where its worker threads take connections. */
  readonly threads?: readonly string[] | undefined;
  /** The path of its socket, where it is of another slot. */
  readonly door?: string;
  /** Whether it takes connections of which nothing has been read. */
  readonly takesFresh?: boolean;
  /** Its tasks that go on with what a slot that ends leaves behind. */
  readonly tasks?: readonly string[] | undefined;
}

/**
 * Asks generations of other slots to take connections.
 * @param doors the paths of their sockets.
 * @returns those that will.
 */
export async function meetPeerSlots(doors: readonly string[], generation: number): Promise<Taker[]> {
  const met = await Promise.all(doors.map((door) => meet(door, generation).catch(() => undefined)));
  return met.filter((one) => one !== undefined);
}

async function meet(door: string, generation: number): Promise<Taker | undefined> {
  const opening = await openWhenGreeted(door, () => ({ role: 'neighbour', generation }));
  if (opening === undefined) return undefined;
  const channel = opening.toChannel();
  try {
    const answer = await channel.next(['takes', 'refused'], TAKES_TIMEOUT_MS);
    if (answer.type === 'takes') {
      const { claims, threads, fresh, tasks } = answer;
      return { channel, claims, threads, door, takesFresh: fresh === true, tasks };
    }
    throw MoultError.from(answer.error);
  } catch (error) {
    channel.close();
    throw error;
  }
}

/** An outflow to one side, or one that shares the connections between several. @param mayGo which connections are to move at all. @param first whose turn it is. */
export function outflowTo(
  takers: readonly Taker[],
  {
    listeners,
    connections,
    moves,
    stickyRouter,
  }: Movables & { readonly stickyRouter?: Pick<SlotRouting, 'doorOf'> },
  mayGo: (socket: Socket) => boolean = () => true,
  first = 0,
): Outflow | SpreadOutflow {
  const turns = new Turns(first);
  const claimed = takers.map(
    ({ claims }) => new Map(claims.filter(takesAny).map((claim) => [claim.name, claim])),
  );
  const having = (name: string) =>
    takers.map((_, i) => i).filter((i) => claimed[i]?.has(name) && !takers[i]?.channel.isClosed);
  // To the slot to which its client belongs, if that is among them; else to one of those that have its listener. Once
  // chosen it stays: slots come and go while the connection waits to come to rest.
  const isOf = (socket: Socket, name: string, which: number) =>
    takers.length === 1 ||
    turns.isOf(socket, which, () => {
      const home = stickyRouter?.doorOf(socket);
      const heir = home === undefined ? -1 : takers.findIndex(({ door }) => door === home);
      return heir < 0 ? having(name) : [heir];
    });
  const parts = takers.map(({ channel }, which) => {
    const claimOf = (server: Server, socket: Socket) => {
      const name = listeners.of(server)?.identity.name ?? '';
      return mayGo(socket) && isOf(socket, name, which) ? claimed[which]?.get(name) : undefined;
    };
    const http1: Destination = (server, socket) => {
      const claim = claimOf(server, socket);
      const isPlain = moves.http1 === 'yes' && isPlainHttp(server) && claim?.accepts.includes('http1');
      const isSecured = moves.tls === 'yes' && isHttps(server) && claim?.tls === true;
      return isPlain || isSecured ? claim?.name : undefined;
    };
    const carried: CarriedDestination = (server, socket) => {
      const claim = claimOf(server, socket);
      if (claim === undefined) return undefined;
      const movers = !isTlsServer(server) ? claim.movers : moves.tls === 'yes' ? claim.tlsMovers : undefined;
      return { listener: claim.name, movers: movers ?? [] };
    };
    const outflow = new Outflow(channel, connections, http1, carried);
    channel.closed.then(() => outflow.stop());
    return outflow;
  });
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : new SpreadOutflow(parts);
}

/** Whether the other side has what connections of this listener can go to: in a process, one of its threads may have it. */
export function takesAny({ accepts, movers = [], tlsMovers = [], tls = false }: Claims[number]): boolean {
  return tls || accepts.length + movers.length + tlsMovers.length > 0;
}

/** Gives some connections to a generation of another slot, while this one serves on. */
export class LoadSharing {
  readonly #context: GenerationContext;
  #end: () => void = () => {};
  #isBusy = false;

  constructor(context: GenerationContext) {
    this.#context = context;
  }

  /**
   * Gives so many, as they come to rest within a moment.
   * @param mayBegin asked once the other side is there.
   * @returns how many have moved; 0 where others are just being given.
   */
  async give(door: string, count: number, generation: number, mayBegin: () => boolean): Promise<number> {
    if (this.#isBusy) return 0;
    this.#isBusy = true;
    try {
      const [taker] = await meetPeerSlots([door], generation);
      if (taker === undefined) return 0;
      try {
        return mayBegin() ? await this.#giveTo(taker, count) : 0;
      } finally {
        taker.channel.close();
      }
    } finally {
      this.#isBusy = false;
    }
  }

  /** What has not moved stays: it may move another time. */
  stop(): void {
    this.#end();
  }

  async #giveTo(taker: Taker, count: number): Promise<number> {
    let chosen: Set<Socket> | undefined;
    const outflow = outflowTo([taker], this.#context, (socket) => chosen?.has(socket) ?? true);
    const movable = this.#context.connections.all().filter(({ socket }) => outflow.canGo(socket));
    const mine = new Set(movable.slice(0, count).map(({ socket }) => socket));
    chosen = mine;
    if (mine.size === 0) return 0;
    await new Promise<void>((resolve) => {
      const limit = setTimeout(() => this.#end(), GIVE_LIMIT_MS);
      // Within the turn in which it is called nothing moves any more.
      this.#end = () => {
        this.#end = () => {};
        clearTimeout(limit);
        outflow.stop();
        resolve();
      };
      outflow.onIdle = () => {
        if (outflow.moved >= mine.size) this.#end();
      };
      taker.channel.closed.then(() => this.#end());
      outflow.start('some');
    });
    return outflow.moved;
  }
}
