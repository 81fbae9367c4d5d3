import { setImmediate as turn } from 'node:timers/promises';
import type { Mark } from '#moult/broadcast/feed.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { Subscriber } from './feed-world.js';
import { End } from './world.js';

/** What may happen in a {@link SlotFeedWorld}. */
export type SlotStepKind =
  | 'publish'
  | 'read'
  | 'mark arrives'
  | 'deliver'
  | 'roll'
  | 'commit'
  | 'meet'
  | 'undo'
  | 'retire'
  | 'scale up'
  | 'scale down'
  | 'kill';

/** What one slot has: at most one of `next` and `before`. */
interface SlotOf {
  current: Subscriber;
  next: Subscriber | undefined;
  /** It may still come back. */
  before: Subscriber | undefined;
}

const MOST_SLOTS = 4;

/** Slots of a service that subscribe to one broker, are rolled, undone and scaled; nothing is real but hubs and feeds. */
export class SlotFeedWorld {
  readonly #all: Subscriber[] = [];
  readonly #slots: SlotOf[] = [];
  readonly #broker: (number | Mark)[] = [];
  readonly #leaving = new Set<Subscriber>();
  #published = 0;
  #wasKilled = false;

  constructor(slots: number) {
    for (let i = 0; i < slots; i += 1) this.#addSlot();
  }

  async step(kind: SlotStepKind, one: number, other: number): Promise<void> {
    const alive = this.#alive;
    const each = alive[one % alive.length];
    const slot = this.#slots[one % this.#slots.length];
    if (each === undefined || slot === undefined) return;
    if (kind === 'publish') {
      this.#published += 1;
      this.#broker.push(this.#published);
    } else if (kind === 'read') this.#read(each, 1 + (other % 4));
    else if (kind === 'mark arrives') this.#arrive(each);
    else if (kind === 'deliver') this.#deliver(one, 1 + (other % 3));
    else if (kind === 'roll') this.#roll(slot);
    else if (kind === 'commit') this.#commit(slot);
    else if (kind === 'meet') this.#meet(slot.current);
    else if (kind === 'undo') this.#undo(slot);
    else if (kind === 'retire') this.#retire(slot);
    else if (kind === 'scale up' && this.#slots.length < MOST_SLOTS) this.#addSlot();
    else if (kind === 'scale down') this.#removeSlot(slot);
    else if (kind === 'kill') this.#kill(slot);
    if (kind !== 'publish') await turn();
  }

  /** Marks that were published. */
  get marks(): number {
    return this.#broker.filter((one) => typeof one !== 'number').length;
  }

  /** After all has come to rest, one more message is for everybody. */
  async finish(): Promise<void> {
    await this.settle();
    await this.step('publish', 0, 0);
    await this.settle();
  }

  /** All slots know each other, everything arrives, and all have read everything. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      for (const { current } of this.#slots) this.#meet(current);
      let isBusy = this.#deliver(0, 1000);
      for (const each of this.#alive) {
        isBusy = this.#arrive(each) || isBusy;
        isBusy = this.#read(each, 1000) || isBusy;
      }
      await turn();
      quiet = isBusy ? 0 : quiet + 1;
    }
  }

  /** What came twice, in another order, or not at all, in any process; and who has not been able to end. */
  problems(): string[] {
    const problems = [...this.#leaving].map(({ hub }) => `${hub.id} cannot end`);
    for (const { hub, got, isAlive } of this.#all) {
      if (got.some((number, i) => number <= (got[i - 1] ?? 0))) {
        problems.push(`${hub.id} got some twice or out of order: ${got.join()}`);
      }
      const [first = 0] = got;
      const wanted = Array.from({ length: this.#published - first + 1 }, (_, i) => first + i);
      const lacks = wanted.filter((number) => !got.includes(number));
      if (first > 0 && isAlive && !this.#wasKilled && lacks.length > 0) {
        problems.push(`${hub.id} lacks ${lacks.join()}, got ${got.join()}`);
      }
    }
    const silent = this.#alive.filter(({ got }) => got.at(-1) !== this.#published);
    problems.push(...silent.map(({ hub }) => `${hub.id} did not get the last`));
    return problems;
  }

  get #alive(): Subscriber[] {
    return this.#all.filter(({ isAlive }) => isAlive);
  }

  #add(join: (one: Subscriber) => void): Subscriber {
    const one = new Subscriber(this.#all.length + 1, (_hub, made) => join(made));
    this.#all.push(one);
    one.at = this.#broker.length;
    one.feed.subscribed();
    return one;
  }

  // It serves at once, and is then told of the others.
  #addSlot(): void {
    const current = this.#add(() => {});
    current.hub.feeds.serve();
    this.#slots.push({ current, next: undefined, before: undefined });
    for (const slot of this.#slots) slot.current.hub.keepRecent();
    this.#meet(current);
  }

  #removeSlot(slot: SlotOf): void {
    const { current, next, before } = slot;
    if (this.#slots.length < 2 || next !== undefined || before !== undefined) return;
    if (!this.#hasMet(current)) return;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    current.hub.feeds.yield();
    this.#end(current);
  }

  #roll(slot: SlotOf): void {
    if (slot.next !== undefined || slot.before !== undefined) return;
    slot.next = this.#add((one) => this.#link(one, slot.current));
  }

  #commit(slot: SlotOf): void {
    const { current, next } = slot;
    if (next === undefined) return;
    this.#haveJoined(next, current);
    current.hub.feeds.yield();
    next.hub.feeds.serve();
    next.hub.keepRecent();
    Object.assign(slot, { current: next, next: undefined, before: current });
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
    current.hub.feeds.yield();
    before.hub.feeds.serve();
    Object.assign(slot, { current: before, before: undefined });
    this.#end(current);
  }

  #retire(slot: SlotOf): void {
    const { current, before } = slot;
    if (before === undefined || !this.#hasMet(current)) return;
    slot.before = undefined;
    this.#end(before);
  }

  // Those that are not there lack what only this one had.
  #kill(slot: SlotOf): void {
    const { current, next, before } = slot;
    if (this.#slots.length < 2 || next !== undefined || before !== undefined) return;
    if (!this.#hasMet(current)) return;
    this.#wasKilled = true;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    this.#close(current);
  }

  #end(each: Subscriber): void {
    this.#leaving.add(each);
    each.hub.flushed(1e9).then(() => {
      this.#leaving.delete(each);
      this.#close(each);
    });
  }

  #close(each: Subscriber): void {
    each.isAlive = false;
    each.feed.close();
    for (const { end } of each.ends) end.close();
  }

  #hasMet(one: Subscriber): boolean {
    return this.#slots.every(({ current }) => current === one || this.#isLinked(one, current));
  }

  #isLinked(one: Subscriber, other: Subscriber): boolean {
    return one.hub.linked.includes(other.hub.id) && other.hub.linked.includes(one.hub.id);
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
    other.hub.accept(far as unknown as Conversation);
    one.hub.join(near as unknown as Conversation, isSlot);
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

  #arrive({ marks }: Subscriber): boolean {
    const mark = marks.shift();
    if (mark !== undefined) this.#broker.push(mark);
    return mark !== undefined;
  }

  #deliver(which: number, count: number): boolean {
    const ends = this.#alive
      .flatMap((one) => one.ends.map(({ end }) => end))
      .filter(({ queue }) => queue.length > 0);
    const some = count > 100 ? ends : ends.slice(which % Math.max(1, ends.length)).slice(0, 1);
    for (const end of some) for (let i = 0; i < count && end.queue.length > 0; i += 1) end.queue.shift()?.();
    return some.length > 0;
  }
}
