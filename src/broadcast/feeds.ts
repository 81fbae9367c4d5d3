import { type Arrival, Feed, type Mark } from './feed.js';
import type { FeedHub } from './feed-hub.js';
import { isOfBroker } from './feed-senders.js';
import { type BroadcastMessage, includes, type Positions, positionsOf } from './message.js';
import type { Topic } from './topic.js';

/** What is told of a subscription at a broker; see `Broadcast.feed`. */
export interface Subscription<T> {
  /** Messages come from now on: the broker has confirmed it, for the first time or again. */
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
  /** Opens it. @param mark publishes a text, which every generation gets in its place among the messages. */
  feed(mark: (text: string) => void): Subscription<T>;
}

/** All feeds of a process. */
export class Feeds {
  readonly #hub: FeedHub;
  readonly #feeds = new Map<string, Feed>();

  constructor(hub: FeedHub) {
    this.#hub = hub;
  }

  /** Whether the broker of each has confirmed that messages come, and clients that move can be placed among them. */
  get areSettled(): boolean {
    return [...this.#feeds.values()].every((feed) => feed.isSettled);
  }

  /** Nothing here depends on who serves; a hub of an older copy of moult in this process is to know it. */
  serve(): void {}

  /** See {@link Feeds.serve}. */
  yield(): void {}

  /** @param topic under which its messages are dealt with. @param mark sends a mark into the broker. */
  open(topic: Topic, mark: (mark: Mark) => void): Feed {
    this.#feeds.get(topic.name)?.close();
    const feed = new Feed(topic, this.#hub, mark);
    this.#feeds.set(topic.name, feed);
    return feed;
  }

  has(topic: string): boolean {
    return this.#feeds.has(topic);
  }

  /** Another generation takes part. */
  look(): void {
    for (const feed of this.#feeds.values()) feed.look();
  }

  close(feed: Feed): void {
    if (this.#feeds.get(feed.topic.name) === feed) this.#feeds.delete(feed.topic.name);
    feed.close();
    this.#hub.feedMoved();
  }

  /** Whether another process has dealt with a message. @param heard up to where it is. */
  isPast(heard: Positions, message: BroadcastMessage): boolean {
    if (!isOfBroker(message.origin)) return includes(heard, message);
    return this.#feeds.get(message.topic)?.isPast(heard, message) ?? true;
  }

  /** Whether clients that come from another process can be placed among the messages of all feeds. */
  canPlace(heard: readonly { origin: string; seq: number }[]): boolean {
    return [...this.#feeds.values()].every((feed) => feed.canPlace(heard));
  }

  /** What is to be known of a client that comes. @param heard up to where it was sent messages. */
  arrival(heard: readonly { origin: string; seq: number }[]): Arrival {
    const arrivals = new Map([...this.#feeds].map(([topic, feed]) => [topic, feed.arrival(heard)]));
    const positions = positionsOf(heard);
    return {
      isPast: (message) =>
        isOfBroker(message.origin)
          ? (arrivals.get(message.topic)?.isPast(message) ?? true)
          : includes(positions, message),
      mayBeAhead: (sender) => [...arrivals.values()].every((one) => one.mayBeAhead(sender)),
    };
  }

  /** Whether nothing of this sender comes here any more. */
  hasLeft(sender: string): boolean {
    return [...this.#feeds.values()].some((feed) => feed.hasLeft(sender));
  }
}
