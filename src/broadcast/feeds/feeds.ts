import { isOfBroker } from '../feed-senders.js';
import { type BroadcastMessage, includes, type Positions, positionsOf } from '../message.js';
import type { Topic } from '../topic.js';
import { type ClientArrival, Feed, type FeedMark } from './feed.js';
import type { FeedHub } from './feed-hub.js';

/** What is told of a subscription at a broker; see `Broadcast.feed`. */
export interface Subscription<T> {
  /** Messages come from now on: the broker has confirmed it, for the first time or again. Some may have been missed. */
  subscribed(): void;
  /** A message has come. */
  received(message: T): void;
  /** A text has come that a generation published as a mark. */
  marked(text: string): void;
  /** The broker is out of reach: messages may be missed until the next `subscribed`. */
  lost(): void;
  /** It is over in this process. */
  close(): void;
}

/** What takes its messages from a subscription. */
export interface Feedable<T> {
  /**
   * Opens it.
   * @param mark publishes a text, which every generation gets in its place among the messages.
   * @param source names what is subscribed to: generations that subscribe to something else count apart.
   */
  feed(mark: (text: string) => void, source?: string): Subscription<T>;
}

/** All feeds of a process. */
export class Feeds {
  readonly #hub: FeedHub;
  /** By topic: most have one. */
  readonly #feeds = new Map<string, readonly Feed[]>();

  constructor(hub: FeedHub) {
    this.#hub = hub;
  }

  /** Whether the broker of each has confirmed that messages come, and clients that move can be placed among them. */
  get areSettled(): boolean {
    return this.#all.every((feed) => feed.isSettled);
  }

  /** Nothing here depends on who serves; a hub of an older copy of moult in this process is to know it. */
  serve(): void {}

  /** See {@link Feeds.serve}. */
  yield(): void {}

  /**
   * @param topic under which its messages are dealt with; another one of this name is over.
   * @param mark sends a mark into the broker.
   * @param source what is subscribed to; a second subscription to the same has a number, by which others have it, too.
   */
  open(topic: Topic, mark: (mark: FeedMark) => unknown, source = ''): Feed {
    const before = this.#feeds.get(topic.name) ?? [];
    for (const feed of before) if (feed.topic !== topic) this.close(feed);
    const same = before.filter((feed) => feed.topic === topic);
    let name = source;
    for (let i = 2; same.some((feed) => feed.source === name); i += 1) name = `${source}\0${i}`;
    const feed = new Feed(topic, this.#hub, mark, name);
    this.#feeds.set(topic.name, [...same, feed]);
    return feed;
  }

  has(topic: string): boolean {
    return this.#feeds.has(topic);
  }

  /** Another generation takes part. */
  look(): void {
    for (const feed of this.#all) feed.look();
  }

  close(feed: Feed): void {
    const { name } = feed.topic;
    const others = (this.#feeds.get(name) ?? []).filter((one) => one !== feed);
    if (others.length > 0) this.#feeds.set(name, others);
    else this.#feeds.delete(name);
    feed.close();
    this.#hub.feedMoved();
  }

  /** Whether another process has dealt with a message. @param heard up to where it is. */
  isPast(heard: Positions, message: BroadcastMessage): boolean {
    if (!isOfBroker(message.origin)) return includes(heard, message);
    return this.#of(message)?.isPast(heard, message) ?? true;
  }

  /** Whether clients that come from another process, the giver, can be placed among the messages of all feeds. */
  canPlace(heard: readonly { origin: string; seq: number }[], giver: object): boolean {
    return this.#all.every((feed) => feed.canPlace(heard, giver));
  }

  /** What is to be known of a client that comes. @param heard up to where it was sent messages. */
  arrival(heard: readonly { origin: string; seq: number }[]): ClientArrival {
    const arrivals = new Map(this.#all.map((feed) => [feed, feed.arrival(heard)]));
    const positions = positionsOf(heard);
    return {
      isPast: (message) => {
        if (!isOfBroker(message.origin)) return includes(positions, message);
        const feed = this.#of(message);
        return feed === undefined || arrivals.get(feed)?.isPast(message) !== false;
      },
      mayBeAhead: (sender) => [...arrivals.values()].every((one) => one.mayBeAhead(sender)),
    };
  }

  /** Whether nothing of this sender comes here any more. */
  hasLeft(sender: string): boolean {
    return this.#all.some((feed) => feed.hasLeft(sender));
  }

  get #all(): Feed[] {
    return [...this.#feeds.values()].flat();
  }

  #of(message: BroadcastMessage): Feed | undefined {
    return this.#feeds.get(message.topic)?.find((feed) => feed.has(message));
  }
}
