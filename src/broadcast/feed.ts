import type { FeedHub } from './feed-hub.js';
import { sendersOf } from './feed-senders.js';
import { type BroadcastMessage, includes, type Positions } from './message.js';
import type { Topic } from './topic.js';

/** How long the first mark may take to come back from the broker; then there is another one, each after twice the time. */
const MARK_TIMEOUT_MS = 250;
const MAX_MARK_TIMEOUT_MS = 8000;
/** So many marks back, others may be behind or ahead; one that is further waits until it is not. */
const MAX_ERAS = 16;
/** So many that are over are remembered, which clients may have been ahead by. */
const MAX_LEFT = 1000;
/** So many servers that number what they publish; those that have sent last. */
const MAX_SERVERS = 64;
/**
 * For so many tenths of a second in which this process runs, a generation with whose clients it has no mark in common is
 * told to wait: then the broker does not answer.
 */
const MAX_WAIT_TICKS = 100;
const TICK_MS = 100;

/** What a feed publishes at the broker, for all generations to see at the same place among its messages. */
export interface Mark {
  readonly id: string;
  /** Older releases name here whose copies count from there on. */
  readonly owner: null;
}

/** Up to where one is: the senders in the order in which something came of them last. */
type Heard = readonly { readonly origin: string; readonly seq: number }[];

/** What is to be known of a client that comes. */
export interface Arrival {
  /** Whether it has been sent a message that is kept here. */
  isPast(message: BroadcastMessage): boolean;
  /** Whether it may have been sent what comes here later of a sender. */
  mayBeAhead(sender: string): boolean;
}

/**
 * A subscription that several generations have at the same time. Each gives its own clients what it receives itself, and
 * counts it from the last mark on. All see a mark at the same place among the messages, so a mark and a number name the
 * same message in each of them: where a client that moves is, is exact, whoever else lives, stands still or was killed.
 */
export class Feed {
  readonly topic: Topic;
  readonly #hub: FeedHub;
  readonly #send: (mark: Mark) => void;
  readonly #senders: ReturnType<typeof sendersOf>;
  /** The senders from one mark to the next, and last the one now. The first begins without a mark: nobody else has it. */
  #eras: string[] = [];
  #count = 0;
  readonly #left = new Set<string>();
  /** Up to where those are that number what they publish. */
  readonly #servers = new Map<string, number>();
  #state: 'opening' | 'subscribed' | 'lost' | 'closed' = 'opening';
  /** Whether a mark of this process has come back since it is subscribed. */
  #isMarked = false;
  #mark: NodeJS.Timeout | undefined;
  #markTimeoutMs = MARK_TIMEOUT_MS;
  #waited = 0;
  #ticks: NodeJS.Timeout | undefined;

  constructor(topic: Topic, hub: FeedHub, send: (mark: Mark) => void) {
    this.topic = topic;
    this.#hub = hub;
    this.#send = send;
    this.#senders = sendersOf(topic.name);
    this.#begin();
  }

  /** Whether clients that come can be placed among its messages, as far as the broker can be reached. */
  get isSettled(): boolean {
    if (this.#state !== 'subscribed') return this.#state !== 'opening';
    return this.#isMarked || !(this.#hub.isShared || this.#hub.isOpening);
  }

  /** Messages come from now on, as far as is known. */
  subscribed(): void {
    if (this.#state === 'subscribed' || this.#state === 'closed') return;
    if (this.#state === 'lost') this.#hub.begins(this.#now);
    this.#state = 'subscribed';
    this.#markTimeoutMs = MARK_TIMEOUT_MS;
    this.look();
    this.#hub.feedMoved();
  }

  /** Messages may have been missed, and none come before it is subscribed again. */
  lost(): void {
    if (this.#state === 'closed') return;
    this.#isMarked = false;
    this.#stopAsking();
    this.#begin();
    // Where it is, it cannot say: nobody is to wait for it.
    this.#hub.forget((sender) => this.#senders.isEra(sender));
    this.#state = 'lost';
    this.#hub.feedMoved();
  }

  /** A message came from the broker. @param sent what is dealt with in this process, where that is another object. */
  received(value: unknown, sent: unknown = value): void {
    this.#count += 1;
    const now = this.#now;
    this.#hub.receive(this.topic, { origin: now, seq: this.#count, fed: now }, value, sent);
  }

  /** The same from a server that numbers what it publishes: others may have it besides, or not. */
  receivedFrom(server: string, number: number, value: unknown, sent: unknown): void {
    const origin = this.#senders.server(server);
    const before = this.#servers.get(origin);
    if (before !== undefined && number <= before) return;
    this.#servers.delete(origin);
    this.#servers.set(origin, number);
    const [oldest] = this.#servers.keys();
    if (this.#servers.size > MAX_SERVERS && oldest !== undefined) {
      this.#servers.delete(oldest);
      this.#hub.forget((sender) => sender === oldest);
    }
    this.#hub.receive(this.topic, { origin, seq: number, fed: this.#now }, value, sent);
  }

  /** A mark came from the broker, in its place among the messages, whoever has published it. */
  marked({ id }: Mark): void {
    // One that is alone may not see all that others count.
    if (!this.#hub.wasShared) return;
    const era = this.#senders.era(id);
    if (this.#eras.includes(era) || this.#left.has(era)) return;
    this.#enter(era);
    if (id.startsWith(`${this.#hub.id}.`)) {
      this.#isMarked = true;
      this.#stopAsking();
    }
    this.#hub.feedMoved();
  }

  /** Another generation takes part: they are to have a mark in common. */
  look(): void {
    if (this.#state !== 'subscribed' || this.#isMarked || !this.#hub.isShared) return;
    if (this.#mark !== undefined) return;
    // The broker may be away, or the subscription not be there yet.
    this.#mark = setTimeout(() => {
      this.#mark = undefined;
      this.#markTimeoutMs = Math.min(2 * this.#markTimeoutMs, MAX_MARK_TIMEOUT_MS);
      this.look();
    }, this.#markTimeoutMs).unref();
    this.#send({ id: this.#hub.newName(), owner: null });
  }

  /** Ends it here. */
  close(): void {
    this.#state = 'closed';
    this.#stopAsking();
    clearInterval(this.#ticks);
  }

  /**
   * Whether one who is there has this message behind it, as far as it has this feed at all.
   * @param heard up to where it is.
   */
  isPast(heard: Positions, message: BroadcastMessage): boolean {
    if (includes(heard, message)) return true;
    const at = this.#eras.indexOf(message.fed ?? '');
    if (at < 0 || this.#eras.some((era, i) => i > at && heard.has(era))) return true;
    return !heard.has(this.#eras[at] as string) && ![...heard.keys()].some((one) => this.#senders.isEra(one));
  }

  /** Whether clients can be placed that come from one who is there; else they come again when more has been received. */
  canPlace(heard: Heard): boolean {
    const { last, isCommon } = this.#compare(heard);
    if (last === undefined || this.#state === 'lost') return true;
    if (!isCommon) return this.#hasWaited();
    this.#stopWaiting();
    const at = this.#eras.indexOf(last.origin);
    if (at < 0) return true;
    const isKept = (origin: string, seq: number) => this.#hub.forgotten(origin) <= seq;
    return isKept(last.origin, last.seq) && this.#eras.slice(at + 1).every((origin) => isKept(origin, 0));
  }

  /** What is to be known of a client that comes. @param heard up to where it was sent messages. */
  arrival(heard: Heard): Arrival {
    const { theirs, isCommon } = this.#compare(heard);
    const positions: Positions = new Map(heard.map(({ origin, seq }) => [origin, seq]));
    const now = theirs.indexOf(this.#now);
    const coming = new Set(now < 0 ? [] : theirs.slice(now));
    return {
      // Where it is not known to be, it begins with what comes next.
      isPast: (message) => !isCommon || this.isPast(positions, message),
      mayBeAhead: (sender) =>
        !this.#senders.isEra(sender) || this.#eras.includes(sender) || coming.has(sender),
    };
  }

  /** Whether nothing of this sender comes here any more. */
  hasLeft(sender: string): boolean {
    return this.#left.has(sender);
  }

  get #now(): string {
    return this.#eras.at(-1) as string;
  }

  // Either it is where this side has been, or it has been where this side is.
  #compare(heard: Heard): { theirs: string[]; last: Heard[number] | undefined; isCommon: boolean } {
    const all = heard.filter(({ origin }) => this.#senders.isEra(origin));
    const theirs = all.map(({ origin }) => origin);
    const last = all.at(-1);
    const isCommon = last !== undefined && (this.#eras.includes(last.origin) || theirs.includes(this.#now));
    return { theirs, last, isCommon };
  }

  // From here on, nobody has a place in common with it before there is a mark.
  #begin(): void {
    for (const era of this.#eras.splice(0)) this.#leave(era);
    this.#hub.forget((sender) => this.#senders.isEra(sender));
    this.#enter(this.#senders.era(this.#hub.newName()));
  }

  #enter(era: string): void {
    this.#eras.push(era);
    this.#count = 0;
    this.#hub.begins(era);
    const [oldest] = this.#eras;
    if (this.#eras.length <= MAX_ERAS || oldest === undefined) return;
    this.#eras.shift();
    this.#leave(oldest);
    this.#hub.forget((sender) => sender === oldest);
  }

  #leave(era: string): void {
    this.#left.add(era);
    const [oldest] = this.#left;
    if (this.#left.size > MAX_LEFT && oldest !== undefined) this.#left.delete(oldest);
  }

  // Only time in which this process runs counts: one that was stopped has first to read what came meanwhile.
  #hasWaited(): boolean {
    this.#ticks ??= setInterval(() => {
      this.#waited += 1;
    }, TICK_MS).unref();
    return this.#waited > MAX_WAIT_TICKS;
  }

  #stopWaiting(): void {
    clearInterval(this.#ticks);
    this.#ticks = undefined;
    this.#waited = 0;
  }

  #stopAsking(): void {
    clearTimeout(this.#mark);
    this.#mark = undefined;
  }
}
