import { sendersOf } from '../feed-senders.js';
import { type BroadcastMessage, includes, type Positions } from '../message.js';
import type { Topic } from '../topic.js';
import type { FeedHub } from './feed-hub.js';
import { WaitingGivers } from './waiting-givers.js';

/** How long the first mark may take to come back from the broker; then there is another one, each after twice the time. */
const MARK_TIMEOUT_MS = 250;
const MAX_MARK_TIMEOUT_MS = 8000;
/** How many marks others may be behind or ahead; one that is further waits until it is not. */
const MAX_ERAS = 16;
/** How many marks that are over are remembered: clients may have been ahead by them. */
const MAX_LEFT = 1000;
/** How many servers that number what they publish are remembered: those that have sent last. */
const MAX_SERVERS = 64;

/** What a feed publishes at the broker, for all generations to see at the same place among its messages. */
export interface FeedMark {
  readonly id: string;
  /** Older releases name here whose copies count from there on. */
  readonly owner: null;
}

/** Up to where one is: the senders in the order in which something came of them last. */
type Heard = readonly { readonly origin: string; readonly seq: number }[];

/** What is to be known of a client that comes. */
export interface ClientArrival {
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
  /** What is subscribed to: only where that is the same, messages have the same numbers. */
  readonly source: string;
  readonly #hub: FeedHub;
  readonly #send: (mark: FeedMark) => unknown;
  readonly #senders: ReturnType<typeof sendersOf>;
  /** The senders from one mark to the next, and last the one now. The first begins without a mark: nobody else has it. */
  #eras: string[] = [];
  #count = 0;
  readonly #left = new Set<string>();
  /** Up to where those are that number what they publish. */
  readonly #servers = new Map<string, number>();
  #state: 'opening' | 'subscribed' | 'lost' | 'closed' = 'opening';
  /** Messages may be missing after those that were counted: what comes next is counted under a new name. */
  #isBroken = false;
  /** Whether a mark is before what is counted now: then others may know the place. */
  #isNamed = false;
  /** Whether a mark of this process has come back since it is subscribed. */
  #isMarked = false;
  #mark: NodeJS.Timeout | undefined;
  #markTimeoutMs = MARK_TIMEOUT_MS;
  #hasWarned = false;
  readonly #waiting = new WaitingGivers();

  /** @param send publishes a mark; what it throws, and a promise that it rejects, is a warning. */
  constructor(topic: Topic, hub: FeedHub, send: (mark: FeedMark) => unknown, source = '') {
    this.topic = topic;
    this.source = source;
    this.#hub = hub;
    this.#send = send;
    this.#senders = sendersOf(source === '' ? topic.name : `${topic.name}\0${source}`);
    this.#begin();
  }

  /** Whether clients that come can be placed among its messages, as far as the broker can be reached. */
  get isSettled(): boolean {
    if (this.#state !== 'subscribed') return this.#state !== 'opening';
    return this.#isMarked || !(this.#hub.isShared || this.#hub.isOpening);
  }

  /** Messages come from now on, as far as is known. */
  subscribed(): void {
    if (this.#state === 'closed') return;
    // That it was lost meanwhile not everybody says.
    if (this.#state === 'subscribed') this.lost();
    this.#resume();
    this.#state = 'subscribed';
    this.#markTimeoutMs = MARK_TIMEOUT_MS;
    this.look();
    this.#hub.feedMoved();
  }

  /** Messages may be missed from now on, until it is subscribed again. Clients that leave go on where it was. */
  lost(): void {
    if (this.#state === 'closed') return;
    this.#isMarked = false;
    this.#stopAsking();
    this.#isBroken = true;
    this.#forgetUnnamed();
    this.#state = 'lost';
    this.#hub.feedMoved();
  }

  /** A message came from the broker. @param sent what is dealt with in this process, where that is another object. */
  received(value: unknown, sent: unknown = value): void {
    this.#resume();
    this.#count += 1;
    const now = this.#now;
    this.#hub.receive(this.topic, { origin: now, seq: this.#count, fed: now }, value, sent);
  }

  /** The same from a server that numbers what it publishes: others may have it besides, or not. */
  receivedFrom(server: string, number: number, value: unknown, sent: unknown): void {
    const origin = this.#senders.server(server);
    const before = this.#servers.get(origin);
    if (before !== undefined && number <= before) return;
    this.#resume();
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
  marked({ id }: FeedMark): void {
    // One that is alone may not see all that others count.
    if (!this.#hub.wasShared) return;
    const era = this.#senders.era(id);
    if (this.#eras.includes(era) || this.#left.has(era)) return;
    this.#resume();
    this.#isNamed = true;
    this.#enter(era);
    if (id.startsWith(`${this.#hub.id}.`)) {
      this.#isMarked = true;
      this.#hasWarned = false;
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
    this.#publish({ id: this.#hub.newName(), owner: null });
  }

  /** Ends it here. */
  close(): void {
    this.#state = 'closed';
    this.#stopAsking();
    this.#waiting.close();
    this.#forgetUnnamed();
  }

  /** Whether a message came by it. */
  has({ fed }: BroadcastMessage): boolean {
    return fed !== undefined && this.#senders.isEra(fed);
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

  /**
   * Whether clients can be placed that come from one who is there; else they come again when more has been received.
   * @param giver tells apart those from whom they come.
   */
  canPlace(heard: Heard, giver: object): boolean {
    const { last, isCommon } = this.#compare(heard);
    if (last === undefined) return true;
    // Also while it is lost: a client that goes on from here would be where this side was before, which may be behind it.
    if (!isCommon) return this.#waiting.isOver(giver, '');
    const at = this.#eras.indexOf(last.origin);
    const isKept = (origin: string, seq: number) => this.#hub.forgotten(origin) <= seq;
    const hasAll =
      at < 0 ||
      (isKept(last.origin, last.seq) && this.#eras.slice(at + 1).every((origin) => isKept(origin, 0)));
    if (!hasAll) return this.#waiting.isOver(giver, `${last.origin} ${last.seq}`);
    this.#waiting.ends(giver);
    return true;
  }

  /** What is to be known of a client that comes. @param heard up to where it was sent messages. */
  arrival(heard: Heard): ClientArrival {
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
    this.#isNamed = false;
    this.#enter(this.#senders.era(this.#hub.newName()));
  }

  // What comes now may not be what followed.
  #resume(): void {
    if (!this.#isBroken) return;
    this.#isBroken = false;
    this.#begin();
  }

  // Where nobody else can know the place, nobody is to wait for it.
  #forgetUnnamed(): void {
    if (!this.#isNamed) this.#hub.forget((sender) => this.#senders.isEra(sender));
  }

  // The service's own function: it is called by timers and channels, which are not to end for it.
  #publish(mark: FeedMark): void {
    const failed = (cause: unknown) => {
      if (this.#hasWarned) return;
      this.#hasWarned = true;
      const why = cause instanceof Error ? cause.message : String(cause);
      process.emitWarning(
        `a mark of ${this.topic.name} could not be published: ${why}: it is tried again; until then clients that move wait`,
        { type: 'MoultWarning', code: 'MOULT_BROADCAST_INCOMPLETE' },
      );
    };
    try {
      Promise.resolve(this.#send(mark)).catch(failed);
    } catch (cause) {
      failed(cause);
    }
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

  #stopAsking(): void {
    clearTimeout(this.#mark);
    this.#mark = undefined;
  }
}

/** A feed as an older copy of moult, whose hub this process has, may have made it. */
export type OlderFeed = Omit<Feed, 'lost' | 'receivedFrom'> & Partial<Pick<Feed, 'lost' | 'receivedFrom'>>;
