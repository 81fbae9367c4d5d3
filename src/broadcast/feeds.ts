import { Feed, type Mark } from './feed.js';
import type { FeedHub } from './feed-hub.js';
import { type BroadcastMessage, decodeMessage } from './message.js';
import type { Topic } from './topic.js';

/** What generations tell each other about feeds goes under this name, which no service can use. */
const NOTES = '\0feeds';

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

/** What one generation tells the others about a feed; older releases know of no other. */
interface FeedNote {
  readonly topic: string;
  /** All before this mark has been passed on; absent: the sender has closed the feed. */
  readonly passed?: string;
}

/** What one that has feeds tells the others of itself, under the name of no feed. */
interface ServingNote {
  readonly topic: '';
  readonly serving: boolean;
  /** To whom it is linked. What they have sent, and it has passed on, comes before it tells that they are gone. */
  readonly linked?: readonly string[];
}

type Note = FeedNote | ServingNote;

/** So many others are remembered; those that have told something last. */
const MAX_OTHERS = 512;

/** All feeds of a process, and whether it serves. */
export class Feeds {
  readonly #hub: FeedHub;
  readonly #feeds = new Map<string, Feed>();
  /** What others have told of themselves: those of other slots, or the other side of a handover. */
  readonly #others = new Map<string, ServingNote>();
  #isServing = false;

  constructor(hub: FeedHub) {
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
    this.tellServing();
    return feed;
  }

  /** Whether any other process that has feeds serves. */
  get isServedElsewhere(): boolean {
    return [...this.#others].some(([origin, { serving }]) => serving && this.isReachable(origin));
  }

  /** Whether another process that has feeds serves, so that those whose copies count need not change. */
  isServedBy(origin: string): boolean {
    return this.#others.get(origin)?.serving === true && this.isReachable(origin);
  }

  /**
   * Whether messages of another process may still come here, be it by way of others: a successor is linked to its
   * predecessor before it meets the other slots.
   */
  isReachable(origin: string): boolean {
    const reached = new Set(this.#hub.linked);
    for (const one of reached) {
      if (one === origin) return true;
      for (const next of this.#others.get(one)?.linked ?? []) reached.add(next);
    }
    return false;
  }

  /** Says whether this process serves: one that does, and whose copies count, is left alone by the others. */
  tellServing(): void {
    if (this.#feeds.size + this.#others.size === 0) return;
    this.tell({ topic: '', serving: this.#isServing, linked: this.#hub.linked });
  }

  /** This generation serves from now on: its copies are to count. */
  serve(): void {
    this.#isServing = true;
    this.tellServing();
    this.look();
  }

  /** Another one serves. */
  yield(): void {
    this.#isServing = false;
    this.tellServing();
  }

  /**
   * Others that were there before are asked to share: their copies count. A generation that serves already goes on with
   * its own, unless those others serve, too, in slots of their own.
   */
  joining(areSlots: boolean): void {
    if (this.#isServing && !areSlots) return;
    for (const feed of this.#feeds.values()) feed.isSecond();
  }

  /** A message of a feed came from another generation. */
  forwarded(topic: string, era: string, origin: string): void {
    this.#feeds.get(topic)?.forwarded(era, origin);
  }

  /** Another generation has told something about a feed. */
  told(message: BroadcastMessage): void {
    if (message.topic !== NOTES) return;
    const note = decodeMessage(message) as Note;
    if ('serving' in note) {
      this.#noteOther(message.origin, note);
      this.look();
      return;
    }
    const { topic, passed } = note;
    const feed = this.#feeds.get(topic);
    if (passed === undefined) feed?.left(message.origin);
    else feed?.passed(passed, message.origin);
  }

  /** Tells the other generations, after all that was published before. */
  tell(note: Note): void {
    if (this.#hub.isShared) this.#hub.publish(NOTES, note);
  }

  /** Looks who counts, after a generation has come or gone, or this one begins to serve. */
  look(): void {
    for (const feed of this.#feeds.values()) feed.look();
  }

  close(feed: Feed): void {
    if (this.#feeds.get(feed.topic.name) === feed) this.#feeds.delete(feed.topic.name);
    if (feed.isNeeded) this.tell({ topic: feed.topic.name });
    feed.close();
  }

  #noteOther(origin: string, note: ServingNote): void {
    const isFirst = this.#others.size === 0;
    this.#others.delete(origin);
    this.#others.set(origin, note);
    const [oldest] = this.#others.keys();
    if (this.#others.size > MAX_OTHERS && oldest !== undefined) this.#others.delete(oldest);
    // Also one without a feed lies between those that have one.
    if (isFirst && this.#feeds.size === 0) this.tellServing();
  }
}
