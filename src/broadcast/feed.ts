import type { FeedHub } from './feed-hub.js';
import type { Topic } from './topic.js';

/** So many messages are kept of those that the generation which counts has not passed on yet. */
const MAX_SPARE = 10_000;
/** How long a mark may take to come back from the broker; then there is another one. */
const MARK_TIMEOUT_MS = 250;
/** How long a generation that was there before may be silent; then it has no such feed. */
const SILENCE_MS = 1000;
/** So many marks are remembered that others were past before this side has seen them. */
const MAX_EARLY = 1000;

/** What a feed sends into the broker, for all generations to see at the same place among its messages. */
export interface Mark {
  readonly id: string;
  /** Whose copies count from here on; null for no change. */
  readonly owner: string | null;
}

interface Copy {
  readonly value: unknown;
  /** What is dealt with in this process, where that is another object. */
  readonly sent: unknown;
}

/** The messages from one mark to the next. */
interface Stretch {
  /** The mark that it begins with. */
  readonly era: string;
  /** Whose copies count; null where that is not known yet. */
  owner: string | null;
  /** Own copies of what was not passed on yet. */
  readonly copies: Copy[];
  /** How many of them were too many to keep. */
  dropped: number;
  /** Nobody has passed on anything of it for so long that nobody will. */
  isSilent: boolean;
}

/**
 * A subscription that several generations have at the same time. Each gets every message; those of one generation
 * count, and are broadcast to the others. Where that changes is one place among the messages, which all see: a mark.
 * Nobody passes on anything before all that lies before it has been passed on, which its owner says. What the others
 * have got and was not passed on they keep, should the one that counts die.
 */
export class Feed {
  readonly topic: Topic;
  readonly #hub: FeedHub;
  readonly #send: (mark: Mark) => void;
  /** How many messages of an era were passed on before this side has got them, or has seen its mark. */
  readonly #early = new Map<string, number>();
  /** Those that have closed this feed. */
  readonly #closed = new Set<string>();
  /** In the order of the messages: what is not passed on as a whole, and last the stretch that goes on. */
  #stretches: Stretch[];
  #isAligned: boolean;
  #isSubscribed = false;
  #mark: NodeJS.Timeout | undefined;
  #marks = 0;
  /** Whether one that counts is about to say so. */
  #awaitsOwner = false;

  constructor(topic: Topic, hub: FeedHub, send: (mark: Mark) => void) {
    this.topic = topic;
    this.#hub = hub;
    this.#send = send;
    const isSecond = hub.isOpening || (hub.isShared && !hub.feeds.isServing);
    this.#stretches = [stretch('', isSecond ? null : hub.id)];
    this.#isAligned = !isSecond;
  }

  /** Whether the copies of this generation count. */
  get counts(): boolean {
    return this.#current.owner === this.#hub.id;
  }

  /** Whether this process has something of it that no other can send on. */
  get isNeeded(): boolean {
    return this.#stretches.some(({ owner }) => owner === this.#hub.id);
  }

  get #current(): Stretch {
    return this.#stretches.at(-1) as Stretch;
  }

  /** Another generation was there before this one. */
  isSecond(): void {
    this.#stretches = [stretch('', null)];
    this.#isAligned = false;
    this.look();
  }

  /** Messages come from now on, as far as is known. */
  subscribed(): void {
    if (this.#isSubscribed) return;
    this.#isSubscribed = true;
    this.look();
  }

  /** A message came from the broker. @param sent what is dealt with in this process, where that is another object. */
  received(value: unknown, sent: unknown = value): void {
    if (!this.#isAligned) return;
    const { era, copies } = this.#current;
    // Also where this side counts: one that has died may have been ahead.
    const early = this.#early.get(era) ?? 0;
    if (early > 0) {
      this.#early.set(era, early - 1);
      return;
    }
    copies.push({ value, sent });
    if (this.counts) {
      this.#advance();
      return;
    }
    if (copies.length <= MAX_SPARE) return;
    copies.shift();
    this.#current.dropped += 1;
  }

  /** A mark came from the broker, in its place among the messages. Those of other services are none of ours. */
  marked({ id, owner }: Mark): void {
    if (!this.#hub.knows(id.slice(0, id.lastIndexOf('.')))) return;
    clearTimeout(this.#mark);
    this.#mark = undefined;
    this.#isAligned = true;
    const ended = this.#current;
    this.#early.delete(ended.era);
    if (owner !== null) this.#closed.delete(owner);
    this.#stretches.push(stretch(id, owner ?? ended.owner));
    if (this.#early.has(id)) this.#forgetBefore(id);
    this.#advance();
    if (this.#stretches.includes(ended) && ended.owner === null) this.#awaitOwner(ended);
    this.#hub.feedMoved();
    if (this.#hub.feeds.isServing) this.look();
  }

  /** A message of that era was passed on by a generation that counts. */
  forwarded(era: string, origin: string): void {
    const one = this.#stretches.find((each) => each.era === era);
    // An older release passes on what it gets before it knows of others.
    if (one?.owner === this.#hub.id) return;
    this.#isOwner(origin);
    if (one !== undefined && one.dropped > 0) one.dropped -= 1;
    else if (one?.copies.shift() === undefined && (one === undefined || one === this.#current)) {
      this.#isEarly(era, 1);
    }
    this.#forgetBefore(era);
    this.#advance();
  }

  /** All before that mark was passed on, by the generation that has counted. */
  passed(id: string, origin: string): void {
    this.#isOwner(origin);
    if (!this.#stretches.some(({ era }) => era === id)) this.#isEarly(id, 0);
    this.#forgetBefore(id);
    this.#advance();
  }

  /** Another generation has closed it. */
  left(origin: string): void {
    this.#closed.add(origin);
    this.look();
  }

  /** Passes on what is this generation's to pass on, and has its copies count if it is the one that serves. */
  look(): void {
    this.#advance();
    if (!this.#isSubscribed || this.#hub.isOpening) return;
    const { isServing } = this.#hub.feeds;
    if (this.#hub.isShared) {
      if (!this.#isAligned) this.#ask(null);
      // Slots that all serve would take it from each other for ever.
      else if (isServing && !this.counts && !this.#isWithServing) this.#ask(this.#hub.id);
    } else if (isServing && !this.counts) this.#takeAll();
  }

  /** Ends it here. */
  close(): void {
    clearTimeout(this.#mark);
    this.#isSubscribed = false;
  }

  get #isWithServing(): boolean {
    const { owner } = this.#current;
    if (owner === null) return this.#awaitsOwner && this.#hub.feeds.isServedElsewhere;
    return !this.#isGone(owner) && this.#hub.feeds.isServedBy(owner);
  }

  // Nobody else is there.
  #takeAll(): void {
    clearTimeout(this.#mark);
    this.#mark = undefined;
    // Without a mark it does not show which ones those were.
    if (!this.#isAligned) this.#early.clear();
    this.#isAligned = true;
    const { era } = this.#current;
    for (const one of this.#stretches) this.#publish(one);
    this.#stretches = [stretch(era, this.#hub.id)];
  }

  #advance(): void {
    for (;;) {
      const [first, next] = this.#stretches;
      if (first === undefined) return;
      const isOwn = first.owner === this.#hub.id || (next !== undefined && this.#inherits(first));
      if (isOwn) this.#publish(first);
      if (next === undefined || !(isOwn || this.#isPassed(first))) return;
      this.#stretches.shift();
      if (isOwn) this.#hub.feeds.tell({ topic: this.topic.name, passed: next.era });
      this.#hub.feedMoved();
    }
  }

  // What one that is gone has not passed on, the next one does.
  #inherits({ owner }: Stretch): boolean {
    return this.#isGone(owner) && this.#nextOwner() === this.#hub.id;
  }

  #nextOwner(): string | null | undefined {
    return this.#stretches.find(({ owner }) => !this.#isGone(owner))?.owner;
  }

  #isGone(owner: string | null): boolean {
    if (owner === null || owner === this.#hub.id) return false;
    return this.#closed.has(owner) || !this.#hub.feeds.isReachable(owner);
  }

  // An older release does not say it: there all has been passed on of which there is a copy here.
  #isPassed({ copies, isSilent }: Stretch): boolean {
    if (isSilent) return true;
    const owner = this.#nextOwner();
    return typeof owner === 'string' && copies.length === 0 && this.#hub.isSilentOfPassed(owner);
  }

  // Those whose owner was not known yet had one that nobody has named.
  #isOwner(origin: string): void {
    this.#closed.delete(origin);
    for (const one of this.#stretches) one.owner ??= origin;
  }

  #isEarly(era: string, more: number): void {
    this.#early.set(era, (this.#early.get(era) ?? 0) + more);
    const [oldest] = this.#early.keys();
    if (this.#early.size > MAX_EARLY && oldest !== undefined) this.#early.delete(oldest);
  }

  #forgetBefore(id: string): void {
    const until = this.#stretches.findIndex(({ era }) => era === id);
    this.#stretches = this.#stretches.filter(({ owner }, at) => at >= until || owner === this.#hub.id);
  }

  // One that has no such feed passes nothing on.
  #awaitOwner(ended: Stretch): void {
    this.#awaitsOwner = true;
    setTimeout(() => {
      this.#awaitsOwner = false;
      if (ended.owner === null) {
        ended.copies.length = 0;
        ended.isSilent = true;
      }
      this.look();
    }, SILENCE_MS).unref();
  }

  #publish({ copies, era }: Stretch): void {
    for (const { value, sent } of copies.splice(0)) {
      this.#hub.publish(this.topic.name, value, { fed: era, sent, by: this.topic });
    }
  }

  // The broker may be away, or the subscription not be there yet.
  #ask(owner: string | null): void {
    if (this.#mark !== undefined) return;
    this.#marks += 1;
    this.#mark = setTimeout(() => {
      this.#mark = undefined;
      this.look();
    }, MARK_TIMEOUT_MS).unref();
    this.#send({ id: `${this.#hub.id}.${this.#marks}`, owner });
  }
}

function stretch(era: string, owner: string | null): Stretch {
  return { era, owner, copies: [], dropped: 0, isSilent: false };
}
