import type { BroadcastHub } from './hub.js';

/** So many messages are kept of those that the generation which counts has not passed on yet. */
const MAX_SPARE = 10_000;
/** How long a mark may take to come back from the broker; then there is another one. */
const MARK_TIMEOUT_MS = 250;

/** What a feed sends into the broker, for all generations to see at the same place among its messages. */
export interface Mark {
  readonly id: string;
  /** Whose copies count from here on; null for no change. */
  readonly owner: string | null;
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

  /** @param mark sends a mark into the broker. */
  open(topic: string, mark: (mark: Mark) => void): Feed {
    const feed = new Feed(topic, this.#hub, mark);
    this.#feeds.set(topic, feed);
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
    if (this.#feeds.get(feed.topic) === feed) this.#feeds.delete(feed.topic);
    feed.close();
  }
}

/**
 * A subscription that several generations have at the same time. Each gets every message; those of one generation
 * count, and are broadcast to the others. Where that changes is one place among the messages, which all see: a mark.
 * What the others have got since then and were not passed on they keep, should the one that counts die.
 */
export class Feed {
  readonly topic: string;
  readonly #hub: BroadcastHub;
  readonly #send: (mark: Mark) => void;
  readonly #spare: unknown[] = [];
  /** How many messages of an era were passed on before this side has got them, or has seen its mark. */
  readonly #early = new Map<string, number>();
  /** What came before this generation's copies counted, and may not have been passed on. */
  #left: { readonly owner: string | null; readonly era: string; readonly values: unknown[] } | undefined;
  #era = '';
  #owner: string | null;
  #isAligned = true;
  #isSubscribed = false;
  #mark: NodeJS.Timeout | undefined;
  #marks = 0;

  constructor(topic: string, hub: BroadcastHub, send: (mark: Mark) => void) {
    this.topic = topic;
    this.#hub = hub;
    this.#send = send;
    this.#owner = hub.isShared && !hub.feeds.isServing ? null : hub.id;
    this.#isAligned = this.#owner !== null;
  }

  get #counts(): boolean {
    return this.#owner === this.#hub.id;
  }

  /** Whether it is not known yet of which generation copies count. */
  get isWaiting(): boolean {
    return !this.#isAligned;
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
    if (this.#counts) {
      this.#hub.publish(this.topic, value, { fed: this.#era, sent });
      return;
    }
    if (!this.#isAligned) return;
    const early = this.#early.get(this.#era) ?? 0;
    if (early > 0) {
      this.#early.set(this.#era, early - 1);
      return;
    }
    this.#spare.push(value);
    if (this.#spare.length > MAX_SPARE) this.#spare.shift();
  }

  /** A mark came from the broker, in its place among the messages. */
  marked({ id, owner }: Mark): void {
    clearTimeout(this.#mark);
    this.#mark = undefined;
    this.#isAligned = true;
    if (owner === this.#hub.id && !this.#counts) {
      // Those before the mark are still the former owner's to pass on, as long as it lives.
      this.#left = { owner: this.#owner, era: this.#era, values: this.#spare.splice(0) };
      this.#owner = owner;
      this.#takeLeft();
    }
    if (owner !== null) this.#owner = owner;
    this.#spare.length = 0;
    const early = this.#early.get(id) ?? 0;
    this.#early.clear();
    if (early > 0) this.#early.set(id, early);
    this.#era = id;
    if (this.#hub.feeds.isServing) this.take();
  }

  /** A message of that era was passed on by the generation that counts. */
  forwarded(era: string, origin: string): void {
    this.#owner ??= origin;
    if (this.#left?.era === era) this.#left.values.shift();
    else if (era === this.#era && this.#isAligned && this.#spare.length > 0) this.#spare.shift();
    else this.#early.set(era, (this.#early.get(era) ?? 0) + 1);
  }

  /** This generation's copies are to count. */
  take(): void {
    this.#takeLeft();
    if (this.#counts || !this.#isSubscribed) return;
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

  // What the former owner has not passed on, and cannot any more.
  #takeLeft(): void {
    const left = this.#left;
    if (left === undefined || left.owner === null || this.#hub.isLinkedTo(left.owner)) return;
    this.#left = undefined;
    this.#publish(left.values, left.era);
  }

  #publish(values: readonly unknown[], era: string): void {
    for (const value of values) this.#hub.publish(this.topic, value, { fed: era });
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
