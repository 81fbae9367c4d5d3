import { setImmediate as turn } from 'node:timers/promises';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import type { Feed, FeedMark } from '#moult/broadcast/feeds/feed.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { type BroadcastMessage, decodeMessage } from '#moult/broadcast/message.js';
import { deliverSome, End } from '../world.js';

/** What may happen in a {@link FeedWorld}. */
export type FeedStepKind =
  | 'publish'
  | 'read'
  | 'mark arrives'
  | 'foreign mark'
  | 'deliver'
  | 'catch up'
  | 'connect'
  | 'move'
  | 'set up'
  | 'roll'
  | 'subscribe'
  | 'lose'
  | 'commit'
  | 'meet'
  | 'undo'
  | 'retire'
  | 'scale up'
  | 'scale down'
  | 'kill'
  | 'kill on the way'
  | 'repeat';

type Heard = { origin: string; seq: number }[];

/** A client that stays connected, wherever its connection lies. */
interface Client {
  readonly id: number;
  readonly got: number[];
  /** From which place of the broker on it is to get all; undefined before its process is subscribed. */
  from: number | undefined;
  isAlive: boolean;
}

/** A client in one process, by the object that stands for it there. */
interface Presence {
  readonly client: Client;
  readonly key: object;
  isSetUp: boolean;
}

/** A process that subscribes, and its clients. */
class Subscriber {
  readonly hub: BroadcastHub;
  readonly feed: Feed;
  readonly here = new Set<Presence>();
  readonly ends: { readonly end: End; readonly with: Subscriber }[] = [];
  /** Its marks that the broker has not got yet. */
  readonly marks: FeedMark[] = [];
  isAlive = true;
  /** Its place among the messages of the broker; undefined before it is subscribed. */
  at: number | undefined;

  constructor(number: number, join: (one: Subscriber) => void) {
    this.hub = new BroadcastHub(`g${number}`);
    const topic = {
      name: 'numbers',
      deliver: (
        message: BroadcastMessage,
        isDue: (client: object) => boolean,
        value?: { readonly sent: unknown },
      ) => {
        const read = (value === undefined ? decodeMessage(message) : value.sent) as number;
        for (const { client, key } of this.here) if (isDue(key)) client.got.push(read);
      },
      deliverTo: (key: object, message: BroadcastMessage) => {
        const presence = [...this.here].find((one) => one.key === key);
        presence?.client.got.push(decodeMessage(message) as number);
      },
    };
    this.hub.declare(topic);
    join(this);
    this.feed = this.hub.feeds.open(topic, (mark) => this.marks.push(mark));
  }
}

/** What one slot has: at most one of `next` and `before`. */
interface SlotOf {
  current: Subscriber;
  next: Subscriber | undefined;
  /** It may still come back. */
  before: Subscriber | undefined;
}

/**
 * Slots of a service that subscribe to one broker, and the clients that move between all of their processes. Each reads at
 * its own pace, and so stands still for as long as a sequence likes; nothing is real but hubs and feeds.
 */
export class FeedWorld {
  readonly #all: Subscriber[] = [];
  readonly #slots: SlotOf[] = [];
  readonly #clients: Client[] = [];
  readonly #broker: (number | FeedMark)[] = [];
  readonly #leaving = new Set<Subscriber>();
  readonly #onTheirWay = new Set<{ readonly client: Client; readonly to: Subscriber; unpin(): void }>();
  readonly #mostSlots: number;
  #published = 0;
  #foreign = 0;
  /** How often a client has moved, was told to wait, and has lacked a message where it came. */
  readonly counts = { moved: 0, waited: 0, missed: 0 };

  /** @param slots that there are at first. @param mostSlots that there are at a time. */
  constructor(slots: number, mostSlots = slots) {
    this.#mostSlots = mostSlots;
    for (let i = 0; i < slots; i += 1) {
      this.#addSlot();
      this.#subscribe(this.#all.at(-1) as Subscriber);
    }
  }

  async step(kind: FeedStepKind, one: number, other: number): Promise<void> {
    const alive = this.#alive;
    const each = alive[one % alive.length];
    const slot = this.#slots[one % this.#slots.length];
    if (each === undefined || slot === undefined) return;
    switch (kind) {
      case 'publish':
        this.#published += 1;
        this.#broker.push(this.#published);
        return;
      case 'read':
        this.#read(each, 1 + (other % 4));
        break;
      case 'mark arrives':
        this.#arrive(each);
        break;
      case 'foreign mark':
        // Of another service that publishes under the same name.
        this.#foreign += 1;
        this.#broker.push({ id: `other.${this.#foreign}`, owner: null });
        break;
      case 'deliver':
        this.#deliver(one, 1 + (other % 3));
        break;
      case 'catch up':
        // Whatever is under way to it has come, and all marks are at the broker; others are behind.
        for (const { end } of each.ends) while (end.queue.length > 0) end.queue.shift()?.();
        for (const some of alive) while (this.#arrive(some));
        this.#subscribe(each);
        this.#read(each, 1000);
        break;
      case 'connect':
        this.#connect(slot.current);
        break;
      case 'move':
        this.#move(each, other);
        break;
      case 'set up':
        for (const presence of each.here) this.#setUp(each, presence);
        break;
      case 'roll':
        this.#roll(slot);
        break;
      case 'subscribe':
        this.#subscribe(each);
        break;
      case 'lose':
        this.#lose(each);
        break;
      case 'commit':
        this.#commit(slot);
        break;
      case 'meet':
        this.#meet(slot.current);
        break;
      case 'undo':
        this.#undo(slot);
        break;
      case 'retire':
        this.#retire(slot);
        break;
      case 'scale up':
        if (this.#slots.length < this.#mostSlots) this.#addSlot();
        break;
      case 'scale down':
        this.#removeSlot(slot);
        break;
      case 'kill':
        this.#kill(each);
        break;
      case 'kill on the way':
        this.#kill(slot.before ?? slot.next ?? slot.current);
        break;
      case 'repeat': {
        // A mark that was late for its sender is there twice.
        const mark = each.marks.at(-1);
        if (mark !== undefined) each.marks.push({ ...mark, id: `${mark.id}0` });
      }
    }
    await turn();
  }

  /** Marks that were published. */
  get marks(): number {
    return this.#broker.filter((one) => typeof one !== 'number').length;
  }

  /** After all has come to rest, each client moves once more, and one more message is for everybody. */
  async finish(): Promise<void> {
    await this.settle();
    for (const each of this.#alive) if (!this.#leaving.has(each)) this.#move(each, 0);
    await this.step('publish', 0, 0);
    await this.settle();
  }

  /** All slots know each other, everything arrives, and all have read everything. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      for (const { current } of this.#slots) this.#meet(current);
      let isBusy = this.#deliver(0, 1000);
      for (const each of this.#alive) {
        this.#subscribe(each);
        for (const presence of each.here) this.#setUp(each, presence);
        isBusy = this.#arrive(each) || isBusy;
        isBusy = this.#read(each, 1000) || isBusy;
        if (this.#leaving.has(each)) isBusy = this.#move(each, 0) || isBusy;
      }
      await turn();
      quiet = isBusy ? 0 : quiet + 1;
    }
  }

  /** What came to a client twice, in another order, or not at all; who cannot end; what is kept for nobody. */
  problems(): string[] {
    const problems = [...this.#leaving].map(({ hub }) => `${hub.id} cannot end`);
    for (const { id, got, from } of this.#clients.filter(({ isAlive }) => isAlive)) {
      const wanted = this.#broker.slice(from ?? this.#broker.length).filter((one) => typeof one === 'number');
      if (got.join() !== wanted.join()) problems.push(`client ${id} got ${got.join()}, not ${wanted.join()}`);
    }
    return problems;
  }

  /** What came to a client twice, or in another order, or is missing at the end, where subscriptions were lost meanwhile. */
  get doubled(): string[] {
    return this.#clients.flatMap(({ id, got, isAlive }) => {
      const isRight = got.every((number, i) => number > (got[i - 1] ?? 0)) && got.at(-1) === this.#published;
      return isAlive && !isRight ? [`client ${id} got ${got.join()} of ${this.#published}`] : [];
    });
  }

  /** In which processes messages are kept although all have them. */
  get keeping(): string[] {
    return this.#alive.flatMap(({ hub }) => {
      const { size } = hub.kept;
      return size > 0 ? [`${hub.id} keeps ${size}`] : [];
    });
  }

  get #alive(): Subscriber[] {
    return this.#all.filter(({ isAlive }) => isAlive);
  }

  #add(join: (one: Subscriber) => void): Subscriber {
    const one = new Subscriber(this.#all.length + 1, join);
    this.#all.push(one);
    return one;
  }

  #subscribe(each: Subscriber): void {
    if (each.at !== undefined) return;
    each.at = this.#broker.length;
    for (const { client } of each.here) client.from ??= each.at;
    each.feed.subscribed();
  }

  // What it has not read, it never does. Before its first mark is back, clients may get something twice.
  #lose(each: Subscriber): void {
    if (each.at === undefined || !each.hub.isShared || !each.feed.isSettled) return;
    each.at = undefined;
    each.feed.lost();
  }

  // It serves at once, and is then told of the others.
  #addSlot(): void {
    const current = this.#add(() => {});
    this.#slots.push({ current, next: undefined, before: undefined });
    if (this.#mostSlots > 1) for (const slot of this.#slots) slot.current.hub.keepRecent();
    this.#connect(current);
  }

  #connect(to: Subscriber): void {
    if (to.here.size > 3) return;
    const client = { id: this.#clients.length + 1, got: [], from: to.at, isAlive: true };
    this.#clients.push(client);
    to.here.add({ client, key: {}, isSetUp: true });
  }

  #removeSlot(slot: SlotOf): void {
    const { current, next, before } = slot;
    if (this.#slots.length < 2 || next !== undefined || before !== undefined) return;
    if (!this.#hasMet(current) || this.#isGivenTo(current)) return;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    this.#leaving.add(current);
  }

  #roll(slot: SlotOf): void {
    if (slot.next !== undefined || slot.before !== undefined) return;
    slot.next = this.#add((one) => this.#link(one, slot.current));
  }

  #commit(slot: SlotOf): void {
    const { current, next } = slot;
    if (next === undefined) return;
    this.#haveJoined(next, current);
    if (this.#mostSlots > 1) next.hub.keepRecent();
    Object.assign(slot, { current: next, next: undefined, before: current });
    this.#connect(next);
  }

  // The channel between them brings both introductions before it brings that one is ready, and the commit.
  #haveJoined(one: Subscriber, other: Subscriber): void {
    const near = one.ends.find((way) => way.with === other)?.end;
    const far = near?.other;
    while (!this.#isLinked(one, other)) {
      far?.queue.shift()?.();
      near?.queue.shift()?.();
    }
  }

  #undo(slot: SlotOf): void {
    const { current, before } = slot;
    if (before === undefined) return;
    Object.assign(slot, { current: before, before: undefined });
    this.#leaving.add(current);
  }

  #retire(slot: SlotOf): void {
    const { current, before } = slot;
    if (before === undefined || !this.#hasMet(current) || this.#isGivenTo(before)) return;
    slot.before = undefined;
    this.#leaving.add(before);
  }

  // Who was undone gives its clients back to it first.
  #isGivenTo(one: Subscriber): boolean {
    return one.ends.some((way) => way.with.isAlive && this.#leaving.has(way.with));
  }

  // Its clients are gone, and so are those that were on their way to it. Nobody else notices.
  #kill(each: Subscriber): void {
    const slot = this.#slots.find((one) => [one.current, one.next, one.before].includes(each));
    if (slot === undefined) {
      this.#leaving.delete(each);
    } else if (slot.current !== each) {
      Object.assign(slot, slot.next === each ? { next: undefined } : { before: undefined });
    } else if (slot.before !== undefined) {
      Object.assign(slot, { current: slot.before, before: undefined });
    } else if (slot.next !== undefined) {
      // The successor serves in its place.
      Object.assign(slot, { current: slot.next, next: undefined });
    } else {
      if (this.#slots.length < 2) return;
      this.#slots.splice(this.#slots.indexOf(slot), 1);
    }
    for (const { client } of each.here) client.isAlive = false;
    for (const one of this.#onTheirWay) if (one.to === each) one.client.isAlive = false;
    this.#close(each);
  }

  #close(each: Subscriber): void {
    each.isAlive = false;
    each.hub.feeds.close(each.feed);
    for (const { end } of each.ends) end.close();
  }

  #hasMet(one: Subscriber): boolean {
    return this.#slots.every(({ current }) => current === one || this.#isLinked(one, current));
  }

  #isLinked(one: Subscriber, other: Subscriber): boolean {
    const isTo = (from: Subscriber, to: Subscriber) => from.hub.isLinkedTo(to.hub.id);
    return isTo(one, other) && isTo(other, one);
  }

  // Of two the later one opens.
  #meet(one: Subscriber): void {
    const earlier = this.#slots.filter(({ current }) => this.#all.indexOf(current) < this.#all.indexOf(one));
    for (const { current } of earlier) {
      if (!one.ends.some((way) => way.with === current)) this.#link(one, current, true);
    }
  }

  #link(one: Subscriber, other: Subscriber, isSlot = false): void {
    const near = new End();
    const far = new End();
    near.other = far;
    far.other = near;
    one.ends.push({ end: near, with: other });
    other.ends.push({ end: far, with: one });
    other.hub.accept(far as unknown as Conversation, isSlot);
    one.hub.join(near as unknown as Conversation, isSlot);
  }

  /** A client is offered to another process, and goes when it is taken. @returns whether it does. */
  #move(from: Subscriber, which: number): boolean {
    const open = from.ends.filter(
      ({ end, with: to }) =>
        to.isAlive && !end.isClosed && !this.#leaving.has(to) && this.#isLinked(from, to),
    );
    const way = open[which % Math.max(1, open.length)];
    const ready = [...from.here].filter(({ isSetUp }) => isSetUp);
    const leaving = which % 2 === 0 ? ready[0] : ready.at(-1);
    if (way === undefined || leaving === undefined) {
      if (this.#leaving.has(from)) this.#end(from);
      return false;
    }
    const { end, with: to } = way;
    const offered = structuredClone(from.hub.heard as Heard);
    if (!to.hub.canTake(offered)) {
      this.counts.waited += 1;
      return false;
    }
    this.counts.moved += 1;
    from.here.delete(leaving);
    const { client } = leaving;
    const further = from.hub.heardBy(leaving.key);
    const heard = structuredClone(further ?? offered);
    const one = { client, to, unpin: to.hub.pin() };
    this.#onTheirWay.add(one);
    end.carry(() => {
      this.#onTheirWay.delete(one);
      const presence: Presence = { client, key: {}, isSetUp: false };
      to.hub.arriving(presence.key, heard);
      to.here.add(presence);
      one.unpin();
      // Some are set up at once, others later.
      if (client.id % 2 === 0) this.#setUp(to, presence);
    });
    return true;
  }

  #setUp(each: Subscriber, presence: Presence): void {
    if (presence.isSetUp) return;
    presence.isSetUp = true;
    const before = presence.client.got.length;
    each.hub.arrived(presence.key);
    this.counts.missed += presence.client.got.length - before;
  }

  // Its clients have gone; where nobody is left who takes them, they end with it.
  #end(each: Subscriber): void {
    if (each.here.size > 0 && each.ends.some((way) => way.with.isAlive)) return;
    if ([...this.#onTheirWay].some(({ to }) => to === each)) return;
    for (const { client } of each.here) client.isAlive = false;
    this.#leaving.delete(each);
    this.#close(each);
  }

  #read(each: Subscriber, count: number): boolean {
    if (each.at === undefined) return false;
    const some = this.#broker.slice(each.at, each.at + count);
    for (const message of some) {
      each.at += 1;
      if (typeof message === 'number') each.feed.received(message);
      else each.feed.marked(message);
    }
    return some.length > 0;
  }

  // What was published comes to those that are subscribed by then.
  #arrive({ marks }: Subscriber): boolean {
    const mark = marks.shift();
    if (mark !== undefined) this.#broker.push(mark);
    return mark !== undefined;
  }

  #deliver(which: number, count: number): boolean {
    return deliverSome(
      this.#alive.flatMap((one) => one.ends.map(({ end }) => end)),
      which,
      count,
    );
  }
}
