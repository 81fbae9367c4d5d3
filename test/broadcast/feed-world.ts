import { setImmediate as turn } from 'node:timers/promises';
import type { Feed, Mark } from '#moult/broadcast/feed.js';
import { BroadcastHub } from '#moult/broadcast/hub.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { decodeMessage } from '#moult/broadcast/message.js';
import { End } from './world.js';

/** What may happen in a {@link FeedWorld}. */
export type FeedStepKind =
  | 'publish'
  | 'read'
  | 'mark arrives'
  | 'deliver'
  | 'start'
  | 'subscribe'
  | 'serve'
  | 'end'
  | 'kill'
  | 'repeat';

/** A generation that subscribes, and what it has got. */
export class Subscriber {
  readonly hub: BroadcastHub;
  readonly feed: Feed;
  readonly got: number[] = [];
  readonly ends: { readonly end: End; readonly with: Subscriber }[] = [];
  /** Its marks that the broker has not got yet. */
  readonly marks: Mark[] = [];
  isAlive = true;
  /** Whether it has seen its own mark. */
  isAligned = false;
  /** Its place among the messages of the broker; undefined before it is subscribed. */
  at: number | undefined;

  constructor(number: number, join: (hub: BroadcastHub, one: Subscriber) => void) {
    this.hub = new BroadcastHub(`g${number}`);
    const topic = {
      name: 'numbers',
      deliver: (message: Parameters<typeof decodeMessage>[0], _isDue: unknown, value?: { sent: unknown }) => {
        this.got.push((value === undefined ? decodeMessage(message) : value.sent) as number);
      },
    };
    this.hub.declare(topic);
    join(this.hub, this);
    this.feed = this.hub.feeds.open(topic, (mark) => this.marks.push(mark));
  }
}

/** Generations that subscribe to one broker, each of which reads at its own pace; nothing is real but hubs and feeds. */
export class FeedWorld {
  readonly #all: Subscriber[] = [];
  readonly #broker: (number | Mark)[] = [];
  #published = 0;
  #wasKilled = false;

  readonly #most: number;

  /** @param most so many generations there are at the same time. */
  constructor(most: number) {
    this.#most = most;
    const first = new Subscriber(1, () => {});
    this.#all.push(first);
    first.at = 0;
    first.feed.subscribed();
    first.hub.feeds.serve();
  }

  async step(kind: FeedStepKind, one: number, other: number): Promise<void> {
    const alive = this.#alive;
    const each = alive[one % alive.length];
    if (each === undefined) return;
    if (kind === 'publish') {
      this.#published += 1;
      this.#broker.push(this.#published);
    } else if (kind === 'read') this.#read(each, 1 + (other % 4));
    else if (kind === 'mark arrives') this.#arrive(each);
    else if (kind === 'deliver') this.#deliver(one, 1 + (other % 3));
    else if (kind === 'start') this.#start();
    else if (kind === 'subscribe') this.#subscribe(each);
    else if (kind === 'serve') this.#serve(each);
    else if (kind === 'end') await this.#end(each);
    else if (kind === 'kill') this.#kill(each);
    // A mark that was late for its sender is there twice.
    else if (each.marks.length > 0) {
      const { id, owner } = each.marks.at(-1) as Mark;
      each.marks.push({ id: `${id}0`, owner });
    }
    if (kind !== 'publish') await turn();
  }

  /** Marks that were published. */
  get marks(): number {
    return this.#broker.filter((one) => typeof one !== 'number').length;
  }

  /** A generation of another slot that begins to serve beside those that do, and then meets them. */
  addSlot(): void {
    const others = this.#alive;
    const slot = new Subscriber(this.#all.length + 1, () => {});
    this.#all.push(slot);
    slot.hub.feeds.serve();
    // As the supervisor's news of others has it.
    for (const { hub } of this.#alive) hub.keepRecent();
    for (const other of others) this.#link(slot, other, true);
  }

  /** Everything arrives, and all have read everything. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      let isBusy = this.#deliver(0, 1000);
      for (const each of this.#alive) {
        this.#subscribe(each);
        isBusy = this.#arrive(each) || isBusy;
        isBusy = this.#read(each, 1000) || isBusy;
      }
      await turn();
      quiet = isBusy ? 0 : quiet + 1;
    }
  }

  /** What came twice, in another order, or not at all, in any process. */
  problems(): string[] {
    return this.#all.flatMap(({ hub, got, isAlive }, which) => {
      const problems: string[] = [];
      if (got.some((number, i) => number <= (got[i - 1] ?? 0))) {
        problems.push(`${hub.id} got some twice or out of order: ${got.join()}`);
      }
      const [first = 0] = which === 0 ? [1] : got;
      const wanted = Array.from({ length: this.#published - first + 1 }, (_, i) => first + i);
      const lacks = wanted.filter((number) => !got.includes(number));
      const isMissing = first > 0 && isAlive && !this.#wasKilled && lacks.length > 0;
      if (isMissing) problems.push(`${hub.id} lacks ${lacks.join()}, got ${got.join()}`);
      return problems;
    });
  }

  get #alive(): Subscriber[] {
    return this.#all.filter(({ isAlive }) => isAlive);
  }

  get #serving(): Subscriber | undefined {
    return this.#alive.find(({ hub }) => hub.feeds.isServing);
  }

  #read(each: Subscriber, count: number): boolean {
    if (each.at === undefined) return false;
    const some = this.#broker.slice(each.at, each.at + count);
    for (const message of some) {
      each.at += 1;
      if (typeof message === 'number') each.feed.received(message);
      else {
        each.feed.marked(message);
        each.isAligned ||= message.id.startsWith(`${each.hub.id}.`);
      }
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
    const ends = this.#alive
      .flatMap((one) => one.ends.map(({ end }) => end))
      .filter(({ queue }) => queue.length > 0);
    const some = count > 100 ? ends : ends.slice(which % Math.max(1, ends.length)).slice(0, 1);
    for (const end of some) for (let i = 0; i < count && end.queue.length > 0; i += 1) end.queue.shift()?.();
    return some.length > 0;
  }

  // It joins the one that serves; as long as that has not answered, it has nobody.
  #start(): void {
    const serving = this.#serving;
    if (serving === undefined || this.#alive.length >= this.#most) return;
    this.#all.push(new Subscriber(this.#all.length + 1, (_hub, one) => this.#link(one, serving)));
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

  #subscribe(each: Subscriber): void {
    if (each.at !== undefined) return;
    each.at = this.#broker.length;
    each.feed.subscribed();
  }

  // Of the one that serves and its successors each may be the one that serves next: a restart, or an undo.
  #serve(each: Subscriber): void {
    const serving = this.#serving;
    if (serving === each || !each.hub.isShared) return;
    if (serving !== undefined && !each.ends.some((way) => way.with === serving)) return;
    serving?.hub.feeds.yield();
    each.hub.feeds.serve();
  }

  // In order: it stays until no copy of it counts, and all that it has sent was dealt with.
  async #end(each: Subscriber): Promise<void> {
    if (each.hub.feeds.isServing || this.#splits(each)) return;
    await this.settle();
    await each.hub.flushed();
    this.#close(each);
  }

  #kill(each: Subscriber): void {
    if (this.#alive.length < 2 || this.#splits(each)) return;
    // Without a mark nobody can tell what one that dies has passed on.
    if (this.#alive.some((one) => one !== each && one !== this.#all[0] && !one.isAligned)) return;
    this.#wasKilled = true;
    this.#close(each);
    const [next] = this.#alive;
    if (this.#serving === undefined) next?.hub.feeds.serve();
  }

  #splits(each: Subscriber): boolean {
    return each.ends.filter((way) => way.with.isAlive).length > 1;
  }

  #close(each: Subscriber): void {
    each.isAlive = false;
    each.feed.close();
    for (const { end } of each.ends) end.close();
  }
}
