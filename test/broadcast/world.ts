import { setImmediate as turn } from 'node:timers/promises';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { decodeMessage } from '#moult/broadcast/message.js';

type Handler = (message: never, incoming: never) => void;
type Heard = { origin: string; seq: number }[];

/** What may happen in a {@link World}. */
export type StepKind =
  | 'send'
  | 'deliver'
  | 'move'
  | 'offer'
  | 'set up'
  | 'start'
  | 'scale'
  | 'introduce'
  | 'end'
  | 'kill'
  | 'turn';

const CLIENTS = 4;
const MOST_ALIVE = 4;

/** What is on its way to one end of a channel, in order. */
export class End {
  readonly queue: (() => void)[] = [];
  readonly closed: Promise<undefined>;
  isClosed = false;
  other!: End;
  readonly #handlers = new Map<string, Handler>();
  #settle!: (reason: undefined) => void;

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  on(type: string, handler: Handler): this {
    this.#handlers.set(type, handler);
    return this;
  }

  send(message: { readonly type: string }, _descriptors?: unknown, attachment?: Buffer): void {
    if (this.isClosed) return;
    // As bytes would: nothing of it is shared.
    const copy = structuredClone(message);
    const bytes = Buffer.from(attachment ?? []);
    const { other } = this;
    other.queue.push(() => other.#handlers.get(copy.type)?.(copy as never, { attachment: bytes } as never));
  }

  /** Something else that travels on the channel. */
  carry(arrival: () => void): void {
    if (!this.isClosed) this.other.queue.push(arrival);
  }

  /** This side closes; the other one reads what was sent before. */
  close(): void {
    if (this.isClosed) return;
    this.shut();
    this.other.queue.push(() => this.other.shut());
  }

  shut(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.queue.length = 0;
    this.#settle(undefined);
  }
}

interface Client {
  readonly id: number;
  readonly got: string[];
  isAlive: boolean;
}

/** A client in one generation, by the object that stands for it there. */
interface Presence {
  readonly client: Client;
  readonly key: object;
  isSetUp: boolean;
}

/** Delivers so many messages of one of these ends, which the number picks; of all of them where there are over 100. */
export function deliverSome(all: readonly End[], which: number, count: number): boolean {
  const ends = all.filter(({ queue }) => queue.length > 0);
  const some = count > 100 ? ends : ends.slice(which % Math.max(1, ends.length)).slice(0, 1);
  for (const end of some) for (let i = 0; i < count && end.queue.length > 0; i += 1) end.queue.shift()?.();
  return some.length > 0;
}

class Generation {
  readonly hub: BroadcastHub;
  readonly here = new Set<Presence>();
  readonly ends: { end: End; with: Generation }[] = [];
  readonly isKnownTo = new Set<Generation>();
  sent = 0;
  isAlive = true;
  isEnding = false;

  constructor(number: number, hasSlots: boolean) {
    this.hub = new BroadcastHub(`g${number}`);
    if (hasSlots) this.hub.keepRecent();
    this.hub.declare({
      name: 'chat',
      deliver: (message, isDue) => {
        for (const { client, key } of this.here)
          if (isDue(key)) client.got.push(decodeMessage(message) as string);
      },
      deliverTo: (key, message) => {
        const presence = [...this.here].find((one) => one.key === key);
        presence?.client.got.push(decodeMessage(message) as string);
      },
    });
  }
}

/** Generations that share broadcasts, and clients that move between them; nothing is real but the hubs. */
export class World {
  readonly #all: Generation[];
  readonly #hasSlots: boolean;
  readonly #clients: Client[];
  /** What must have come to each client that lives: sent by those that were not killed. */
  readonly #sent: { readonly text: string; readonly by: Generation }[] = [];
  readonly #killed = new Set<Generation>();
  /** The channels on which clients go to other slots: they are others than those of broadcasts. */
  readonly #asides = new Set<End>();
  readonly #onTheirWay = new Set<{ readonly client: Client; readonly to: Generation; unpin(): void }>();

  /** @param hasSlots whether they are of several slots, which link with each other besides successors with predecessors. */
  constructor(hasSlots: boolean) {
    this.#hasSlots = hasSlots;
    this.#all = [new Generation(1, hasSlots)];
    this.#clients = Array.from({ length: CLIENTS }, (_, id) => ({ id, got: [], isAlive: true }));
    const [first] = this.#all;
    for (const client of this.#clients) first?.here.add({ client, key: {}, isSetUp: true });
  }

  async step(kind: StepKind, one: number, other: number): Promise<void> {
    const alive = this.#alive;
    const generation = alive[one % alive.length];
    if (generation === undefined) return;
    switch (kind) {
      case 'send':
        this.#send(generation);
        break;
      case 'deliver':
        this.#deliver(one, 1 + (other % 3));
        break;
      case 'move':
        this.#move(generation, other);
        break;
      case 'offer':
        this.#offer(generation, other);
        break;
      case 'set up':
        for (const each of this.#alive) for (const presence of each.here) this.#setUp(each, presence);
        break;
      case 'start':
        if (alive.length < MOST_ALIVE) this.#start(generation);
        break;
      case 'scale':
        if (alive.length < MOST_ALIVE) this.#scale(generation);
        break;
      case 'introduce':
        this.#introduce(generation, alive[other % alive.length]);
        break;
      case 'end':
        await this.#end(generation);
        break;
      case 'kill':
        this.#kill(generation);
        break;
      case 'turn':
        await turn();
    }
    // As after each message from elsewhere: what was put off to the end of the turn is done.
    if (kind !== 'send' || one % 2 === 0) await turn();
  }

  /** Everything arrives. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      const isBusy = this.#deliver(0, 1000);
      for (const each of this.#alive) for (const presence of each.here) this.#setUp(each, presence);
      await turn();
      quiet = isBusy ? 0 : quiet + 1;
    }
  }

  problems(): string[] {
    const problems: string[] = [];
    for (const client of this.#clients.filter(({ isAlive }) => isAlive)) {
      const { id, got } = client;
      if (new Set(got).size < got.length) problems.push(`client ${id} got some twice: ${got.join()}`);
      const missing = this.#sent.filter(({ text, by }) => !this.#killed.has(by) && !got.includes(text));
      if (missing.length > 0) {
        problems.push(`client ${id} lacks ${missing.map(({ text }) => text).join()}, got ${got.join()}`);
      }
      for (const { hub } of this.#all) {
        const numbers = got
          .filter((text) => text.startsWith(`${hub.id}:`))
          .map((text) => Number(text.split(':')[1]));
        if (numbers.some((number, i) => number < (numbers[i - 1] ?? 0))) {
          problems.push(`client ${id} got those of ${hub.id} out of order: ${got.join()}`);
        }
      }
    }
    return problems;
  }

  get #alive(): Generation[] {
    return this.#all.filter(({ isAlive }) => isAlive);
  }

  #send(generation: Generation): void {
    generation.sent += 1;
    const text = `${generation.hub.id}:${generation.sent}`;
    // Nothing is promised to those that are not connected yet.
    if (this.#areConnected()) this.#sent.push({ text, by: generation });
    generation.hub.publish('chat', text);
  }

  #deliver(which: number, count: number): boolean {
    const ends = this.#alive.flatMap((one) => one.ends.map(({ end }) => end));
    return deliverSome([...ends, ...this.#asides], which, count);
  }

  // A successor joins its predecessor before it has any client.
  #start(predecessor: Generation): void {
    if (predecessor.isEnding) return;
    const successor = new Generation(this.#all.length + 1, this.#hasSlots);
    this.#all.push(successor);
    this.#link(successor, predecessor, false);
    // Both have joined before the commit; what else is on its way may be late.
    const [near] = successor.ends;
    const far = predecessor.ends.at(-1);
    far?.end.queue.shift()?.();
    near?.end.queue.shift()?.();
  }

  // A new slot: it is connected to the others one after the other, and what is on its way may be late.
  #scale(peer: Generation): void {
    if (!this.#hasSlots || peer.isEnding) return;
    const added = new Generation(this.#all.length + 1, true);
    added.hub.keepRecent(true);
    this.#all.push(added);
    this.#link(added, peer, true);
  }

  #introduce(one: Generation, other: Generation | undefined): void {
    if (!this.#hasSlots || other === undefined || other === one || one.isKnownTo.has(other)) return;
    if (one.isEnding || other.isEnding) return;
    this.#link(one, other, true);
  }

  #link(opener: Generation, acceptor: Generation, isSlot: boolean): void {
    const near = new End();
    const far = new End();
    near.other = far;
    far.other = near;
    opener.ends.push({ end: near, with: acceptor });
    acceptor.ends.push({ end: far, with: opener });
    opener.isKnownTo.add(acceptor);
    acceptor.isKnownTo.add(opener);
    acceptor.hub.accept(far as unknown as Conversation, isSlot);
    opener.hub.join(near as unknown as Conversation, isSlot);
  }

  #move(from: Generation, which: number): void {
    const open = from.ends.filter(({ end, with: to }) => to.isAlive && !to.isEnding && !end.isClosed);
    const way = open[which % Math.max(1, open.length)];
    const leaving = [...from.here].find(({ isSetUp }) => isSetUp);
    if (way === undefined || leaving === undefined || !this.#areConnected()) return;
    // It is offered first; while it is, what it may lack is kept.
    const isAside = this.#hasSlots && which % 2 === 1;
    if (!way.with.hub.canTake(from.hub.heard as Heard, isAside ? {} : way.end.other)) return;
    this.#part(from, isAside ? this.#aside(way.with) : way, leaving);
  }

  // The offer and its answer are on their way for as long as anything else.
  #offer(from: Generation, which: number): void {
    const open = from.ends.filter(({ end, with: to }) => to.isAlive && !to.isEnding && !end.isClosed);
    const direct = open[which % Math.max(1, open.length)];
    if (direct === undefined || !this.#areConnected()) return;
    const isAside = this.#hasSlots && which % 2 === 1;
    const way = isAside ? this.#aside(direct.with) : direct;
    const { end, with: to } = way;
    if (isAside) this.#asides.add(end);
    const heard = structuredClone(from.hub.heard as Heard);
    end.carry(() => {
      if (!to.hub.canTake(heard, isAside ? {} : end.other)) return;
      const unpin = to.hub.pin();
      end.other.carry(() => {
        const leaving = [...from.here].find(({ isSetUp }) => isSetUp);
        if (leaving !== undefined && from.isAlive && !from.isEnding && to.isAlive && !to.isEnding)
          this.#part(from, way, leaving);
        unpin();
      });
    });
  }

  #aside(to: Generation): { end: End; with: Generation } {
    const [near, far] = [new End(), new End()];
    near.other = far;
    far.other = near;
    this.#asides.add(far);
    return { end: near, with: to };
  }

  #part(from: Generation, { end, with: to }: { end: End; with: Generation }, leaving: Presence): void {
    from.here.delete(leaving);
    const heard = (from.hub.heardBy(leaving.key) ?? from.hub.heard) as Heard;
    const { client } = leaving;
    const unpin = to.hub.pin();
    const one = { client, to, unpin };
    this.#onTheirWay.add(one);
    end.carry(() => {
      this.#asides.delete(end.other);
      if (!this.#onTheirWay.delete(one)) return;
      const presence: Presence = { client, key: {}, isSetUp: false };
      to.hub.arriving(presence.key, structuredClone(heard));
      to.here.add(presence);
      unpin();
      // Some are set up at once, others later.
      if (client.id % 2 === 0) this.#setUp(to, presence);
    });
  }

  #setUp(generation: Generation, presence: Presence): void {
    if (presence.isSetUp) return;
    presence.isSetUp = true;
    generation.hub.arrived(presence.key);
  }

  // In order: its clients go, and it stays until all that it has sent was dealt with.
  async #end(generation: Generation): Promise<void> {
    if (this.#alive.length < 2 || !this.#staysWhole(generation)) return;
    for (const presence of generation.here) this.#setUp(generation, presence);
    const way = generation.ends.find(({ end, with: to }) => to.isAlive && !to.isEnding && !end.isClosed);
    if (way === undefined) return;
    await this.settle();
    for (const presence of [...generation.here]) this.#part(generation, way, presence);
    await this.settle();
    generation.isEnding = true;
    await generation.hub.flushed();
    generation.isAlive = false;
    for (const { end } of generation.ends) end.close();
  }

  // What it had sent reaches the others; its clients are gone, and so are those that were on their way to it.
  #kill(generation: Generation): void {
    if (this.#alive.length < 2 || !this.#staysWhole(generation)) return;
    generation.isAlive = false;
    this.#killed.add(generation);
    for (const { client } of generation.here) client.isAlive = false;
    for (const one of this.#onTheirWay) {
      if (one.to !== generation) continue;
      this.#onTheirWay.delete(one);
      one.client.isAlive = false;
      one.unpin();
    }
    for (const { end } of generation.ends) end.close();
  }

  /** Whether those that remain are all linked, directly or not, without this one. */
  #staysWhole(without: Generation): boolean {
    return this.#isWhole(
      this.#alive.filter((one) => one !== without),
      () => true,
    );
  }

  /** Whether all have met, directly or not, and know of it. */
  #areConnected(): boolean {
    const met = (one: Generation, other: Generation) =>
      one.hub.isLinkedTo(other.hub.id) && other.hub.isLinkedTo(one.hub.id);
    return this.#isWhole(this.#alive, met);
  }

  #isWhole(all: readonly Generation[], isWay: (from: Generation, to: Generation) => boolean): boolean {
    const [first] = all;
    if (first === undefined) return false;
    const reached = new Set([first]);
    for (const one of reached) {
      for (const { end, with: to } of one.ends)
        if (all.includes(to) && !end.isClosed && isWay(one, to)) reached.add(to);
    }
    return reached.size === all.length;
  }
}
