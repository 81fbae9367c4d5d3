import type { BroadcastHub, Topic } from './hub.js';

/** So many messages are kept of those that the generation which counts has not passed on yet. */
const MAX_SPARE = 10_000;
/** How long a mark may take to come back from the broker; then there is another one. */
const MARK_TIMEOUT_MS = 250;

/** How long a generation that was there before may be silent; then it has no such feed. */
const SILENCE_MS = 1000;

/** What a feed sends into the broker, for all generations to see at the same place among its messages. */
export interface Mark {
  readonly id: string;
  /** Whose copies count from here on; null for no change. */
  readonly owner: string | null;
}

/** What is told of a subscription at a broker; see `Broadcast.feed`. */
export interface Subscription<T> {
  /** Messages come from now on: the broker has confirmed it. */
  subscribed(): void;
  /** A message has come. */
  received(message: T): void;
  /** A text has come that a generation published as a mark. */
  marked(text: string): void;
  /** It is over in this process. */
  close(): void;
}

/** What takes its messages from a subscription. */
export interface Feedable<T> {
  /** Opens it. @param mark publishes a text, which every generation gets in its place among the messages. */
  feed(mark: (text: string) => void): Subscription<T>;
}

interface Copy {
  readonly value: unknown;
  /** What is dealt with in this process, where that is another object. */
  readonly sent: unknown;
}

/** All feeds of a process, and whether it serves. */
export class Feeds {
  readonly #hub: BroadcastHub;
  readonly #feeds = new Map<string, Feed>();
  #isServing = false;

  constructor(hub: BroadcastHub) {
    this.#hub = hub;
  }

  get isServing(): boolean {
    return this.#isServing;
  }

  /** Whether copies of this process count. */
  get isNeeded(): boolean {
    return [...this.#feeds.values()].some((feed) => feed.isNeeded);
  }

  /** @param topic under which its messages are sent on. @param mark sends a mark into the broker. */
  open(topic: Topic, mark: (mark: Mark) => void): Feed {
    const feed = new Feed(topic, this.#hub, mark);
    this.#feeds.set(topic.name, feed);
    return feed;
  }

  /** This generation serves from now on: its copies are to count. */
  serve(): void {
    this.#isServing = true;
    this.look();
  }

  /** Another one serves. */
  yield(): void {
    this.#isServing = false;
  }

  /** Others were there before: theirs count. */
  joined(): void {
    if (this.#isServing) return;
    for (const feed of this.#feeds.values()) feed.isSecond();
  }

  /** A message of a feed came from another generation. */
  forwarded(topic: string, era: string, origin: string): void {
    this.#feeds.get(topic)?.forwarded(era, origin);
  }

  /** Looks who counts, after a generation has gone or this one begins to serve. */
  look(): void {
    if (this.#isServing) for (const feed of this.#feeds.values()) feed.take();
  }

  close(feed: Feed): void {
    if (this.#feeds.get(feed.topic.name) === feed) this.#feeds.delete(feed.topic.name);
    feed.close();
  }
}

/**
 * A subscription that several generations have at the same time. Each gets every message; those of one generation
 * count, and are broadcast to the others. Where that changes is one place among the messages, which all see: a mark.
 * What the others have got since then and were not passed on they keep, should the one that counts die.
 */
export class Feed {
  readonly topic: Topic;
  readonly #hub: BroadcastHub;
  readonly #send: (mark: Mark) => void;
  readonly #spare: Copy[] = [];
  /** How many messages of an era were passed on before this side has got them, or has seen its mark. */
  readonly #early = new Map<string, number>();
  /** What came before this generation's copies counted, and may not have been passed on. */
  #left: { owner: string | null; readonly era: string; readonly values: Copy[] } | undefined;
  /** What has come since, and waits for them. */
  readonly #waiting: (Copy & { readonly era: string })[] = [];
  #era = '';
  #owner: string | null;
  #isAligned = true;
  #isSubscribed = false;
  #mark: NodeJS.Timeout | undefined;
  #marks = 0;

  constructor(topic: Topic, hub: BroadcastHub, send: (mark: Mark) => void) {
    this.topic = topic;
    this.#hub = hub;
    this.#send = send;
    this.#owner = hub.isShared && !hub.feeds.isServing ? null : hub.id;
    this.#isAligned = this.#owner !== null;
  }

  /** Whether the copies of this generation count. */
  get counts(): boolean {
    return this.#owner === this.#hub.id;
  }

  /** Whether this process has something of it that no other can send on. */
  get isNeeded(): boolean {
    return this.counts || this.#left !== undefined;
  }

  /** Another generation was there before this one. */
  isSecond(): void {
    this.#owner = null;
    this.#isAligned = false;
    if (this.#isSubscribed) this.#ask(null);
  }

  /** Messages come from now on, as far as is known. */
  subscribed(): void {
    if (this.#isSubscribed) return;
    this.#isSubscribed = true;
    if (!this.#isAligned) this.#ask(null);
    if (this.#hub.feeds.isServing) this.take();
  }

  /** A message came from the broker. @param sent what is dealt with in this process, where that is another object. */
  received(value: unknown, sent: unknown = value): void {
    if (this.counts) {
      if (this.#left !== undefined) this.#waiting.push({ value, sent, era: this.#era });
      else this.#publish([{ value, sent }], this.#era);
      return;
    }
    if (!this.#isAligned) return;
    const early = this.#early.get(this.#era) ?? 0;
    if (early > 0) {
      this.#early.set(this.#era, early - 1);
      return;
    }
    this.#spare.push({ value, sent });
    if (this.#spare.length > MAX_SPARE) this.#spare.shift();
  }

  /** A mark came from the broker, in its place among the messages. Those of other services are none of ours. */
  marked({ id, owner }: Mark): void {
    if (!this.#hub.knows(id.slice(0, id.lastIndexOf('.')))) return;
    clearTimeout(this.#mark);
    this.#mark = undefined;
    this.#isAligned = true;
    if (owner === this.#hub.id && !this.counts) {
      // Those before the mark are still the former owner's to pass on, as long as it lives.
      this.#wait(this.#owner);
    }
    if (owner !== null) this.#owner = owner;
    this.#spare.length = 0;
    const early = this.#early.get(id) ?? 0;
    this.#early.clear();
    if (early > 0) this.#early.set(id, early);
    this.#era = id;
    this.#takeLeft();
    this.#hub.feedMoved();
    if (this.#hub.feeds.isServing) this.take();
  }

  /** A message of that era was passed on by the generation that counts. */
  forwarded(era: string, origin: string): void {
    this.#owner ??= origin;
    if (this.#left?.era === era) {
      this.#left.owner ??= origin;
      this.#left.values.shift();
      this.#takeLeft();
    } else if (era === this.#era && this.#isAligned && this.#spare.length > 0) this.#spare.shift();
    else this.#early.set(era, (this.#early.get(era) ?? 0) + 1);
  }

  /** This generation's copies are to count. */
  take(): void {
    this.#takeLeft();
    if (this.counts || !this.#isSubscribed) return;
    if (this.#hub.isShared) {
      if (this.#isAligned) this.#ask(this.#hub.id);
      return;
    }
    clearTimeout(this.#mark);
    this.#mark = undefined;
    this.#owner = this.#hub.id;
    this.#isAligned = true;
    this.#publish(this.#spare.splice(0), this.#era);
  }

  #wait(owner: string | null): void {
    const left = { owner, era: this.#era, values: this.#spare.splice(0) };
    this.#left = left;
    // One that has no such feed passes nothing on.
    setTimeout(() => {
      if (this.#left !== left || left.owner !== null) return;
      left.values.length = 0;
      this.#takeLeft();
    }, SILENCE_MS).unref();
  }

  // When the former owner has passed on all before the mark, or cannot any more, those after it have their turn: so all
  // are in order, there and here.
  #takeLeft(): void {
    const left = this.#left;
    if (left === undefined) return;
    const isGone = left.owner !== null && !this.#hub.isLinkedTo(left.owner);
    if (left.values.length > 0 && !isGone) return;
    this.#left = undefined;
    this.#publish(left.values, left.era);
    for (const copy of this.#waiting.splice(0)) this.#publish([copy], copy.era);
    this.#hub.feedMoved();
  }

  #publish(values: readonly Copy[], era: string): void {
    for (const { value, sent } of values) {
      this.#hub.publish(this.topic.name, value, { fed: era, sent, by: this.topic });
    }
  }

  /** Ends it here. */
  close(): void {
    clearTimeout(this.#mark);
    this.#isSubscribed = false;
  }

  // The broker may be away, or the subscription not be there yet.
  #ask(owner: string | null): void {
    if (this.#mark !== undefined) return;
    this.#marks += 1;
    this.#send({ id: `${this.#hub.id}.${this.#marks}`, owner });
    this.#mark = setTimeout(() => {
      this.#mark = undefined;
      if (!this.#isSubscribed) return;
      if (this.#hub.feeds.isServing && this.#isAligned) this.take();
      else if (!this.#isAligned) this.#ask(null);
    }, MARK_TIMEOUT_MS).unref();
  }
}
