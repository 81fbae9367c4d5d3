import { randomBytes } from 'node:crypto';
import type { Message } from '../protocol/messages.js';
import { Clients } from './clients.js';
import { Feeds } from './feeds.js';
import { GapStore } from './gap-store.js';
import { type Conversation, Link, listOf, positionsOf } from './link.js';
import { type BroadcastMessage, encodeMessage, includes, type Positions } from './message.js';
import { MessageLog } from './message-log.js';

/** What waits for the slowest peer has room for this; a peer that leaves more unread is left out. */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** How long a generation that ends waits for what it has sent to be dealt with elsewhere. */
const FLUSH_TIMEOUT_MS = 2000;

/** What becomes of messages of one name in this process. */
export interface Topic {
  readonly name: string;
  /**
   * Deals with a message, for all clients that are here.
   * @param value the message itself where it was sent here; elsewhere it is read from the bytes.
   * @param isDue whether a client, by its socket, is to be sent it now.
   */
  deliver(
    message: BroadcastMessage,
    isDue: (client: object) => boolean,
    value?: { readonly sent: unknown },
  ): void;
  /** Sends it to one client that has come from another generation, where it was not sent it. */
  deliverTo?(client: object, message: BroadcastMessage): void;
}

interface Waiting {
  readonly message: BroadcastMessage;
  readonly value: { readonly sent: unknown } | undefined;
}

/**
 * What this process shares with the other generations of its service, and those of other slots: messages by name, each
 * once in every process, those of one sender in the order in which it sent them.
 */
export class BroadcastHub {
  /** By which its messages are known elsewhere. */
  readonly id: string;
  readonly clients = new Clients();
  readonly feeds: Feeds;
  readonly #log = new MessageLog();
  readonly #positions: Positions = new Map();
  readonly #topics = new Map<string, Topic>();
  readonly #links = new Set<Link>();
  readonly #gaps: GapStore;
  readonly #onUse: (() => void)[] = [];
  readonly #holds = new Set<Positions>();
  readonly #waiting: Waiting[] = [];
  readonly #drained: (() => void)[] = [];
  #openings = 0;
  #seq = 0;
  #isFresh = true;
  #isDelivering = false;
  #isScheduled = false;

  constructor(id = randomBytes(6).toString('base64url')) {
    this.id = id;
    this.feeds = new Feeds(this);
    this.#gaps = new GapStore(this.#positions, {
      late: () => this.#giveUpGaps(),
      missed: (count) =>
        warn(`${count} broadcast messages of another generation did not come here: it ended, or was cut off`),
    });
  }

  /** Whether another generation takes part. */
  get isShared(): boolean {
    return this.#links.size > 0;
  }

  /** Whether messages wait for another generation that is slow. */
  get isFull(): boolean {
    return [...this.#links].some((link) => link.isFull);
  }

  /** Up to where this process is, for clients that leave it. */
  get heard(): { origin: string; seq: number }[] | undefined {
    return this.#topics.size + this.#links.size === 0 ? undefined : listOf(this.#positions);
  }

  /** Whether a process is at the other end of a link. */
  isLinkedTo(origin: string): boolean {
    return [...this.#links].some(({ peer }) => peer === origin);
  }

  /** Whether it knows a sender: its messages come by themselves. */
  knows(origin: string): boolean {
    return origin === this.id || this.#positions.has(origin);
  }

  /** Deals with messages of this name from now on. */
  declare(topic: Topic): void {
    this.#topics.set(topic.name, topic);
    for (const told of this.#onUse.splice(0)) told();
  }

  has(name: string): boolean {
    return this.#topics.has(name);
  }

  withdraw(topic: Topic): void {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }

  /** Calls back as soon as a name is used here. */
  whenUsed(then: () => void): void {
    if (this.#topics.size > 0) then();
    else this.#onUse.push(then);
  }

  /**
   * Sends a message to every generation, this one among them, where it is dealt with before this returns.
   * @returns whether more may be sent at once; else {@link drained} says when.
   * @throws MOULT_BAD_OPTION, MOULT_DATA_TOO_LARGE
   */
  publish(topic: string, value: unknown, { fed, sent = value }: PublishOptions = {}): boolean {
    const payload = encodeMessage(topic, value);
    this.#seq += 1;
    this.#accept({ origin: this.id, seq: this.#seq, topic, payload, fed }, { sent });
    return !this.isFull;
  }

  /** Settles when no other generation is slow. */
  drained(): Promise<void> {
    return this.isFull ? new Promise((resolve) => this.#drained.push(resolve)) : Promise.resolve();
  }

  /** The other side of a channel may join, which it says itself. */
  accept(channel: Conversation): void {
    channel.on('broadcast-join', (join) => {
      const isFresh = this.#isFresh;
      channel.send(this.#introduction());
      this.#join(channel, join, isFresh);
    });
  }

  /** Joins the other side of a channel, as soon as a name is used here. */
  join(channel: Conversation): void {
    this.whenUsed(() => {
      if (channel.isClosed) return;
      const isFresh = this.#isFresh;
      // What is sent before the answer is for the other side, too.
      this.#openings += 1;
      let isOpening = true;
      const opened = () => {
        if (isOpening) this.#openings -= 1;
        isOpening = false;
      };
      channel.closed.then(opened);
      channel.on('broadcast-join', (join) => {
        this.#join(channel, join, isFresh);
        opened();
      });
      channel.send(this.#introduction());
    });
  }

  /** A client comes from another generation. @param heard up to where it was sent messages there. */
  arriving(client: object, heard: readonly { origin: string; seq: number }[]): void {
    const positions = positionsOf(heard);
    const missed = this.#log.all().filter((message) => !includes(positions, message));
    this.clients.arriving(client, positions, this.#positions, missed);
  }

  /** It is set up: it gets what it has missed. */
  arrived(client: object): void {
    for (const message of this.clients.missedBy(client)) {
      guarded(() => this.#topics.get(message.topic)?.deliverTo?.(client, message));
    }
  }

  /**
   * Clients are on their way to another generation, which may not forget yet what they were not sent.
   * @returns ends that.
   */
  hold(): () => void {
    if (this.#links.size === 0) return () => {};
    const held = this.#safe();
    this.#holds.add(held);
    return () => {
      if (this.#holds.delete(held)) this.#schedule();
    };
  }

  /** Settles when all has been dealt with at the other side of a channel, or that takes too long. */
  async flushed(timeoutMs = FLUSH_TIMEOUT_MS): Promise<void> {
    const isFlushed = () => [...this.#links].every((link) => link.isFlushed);
    if (isFlushed()) return;
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, timeoutMs).unref();
      const look = () => {
        if (isFlushed()) {
          clearTimeout(limit);
          resolve();
        } else this.#drained.push(look);
      };
      this.#drained.push(look);
      this.#schedule();
    });
  }

  #introduction(): Message<'broadcast-join'> {
    return { type: 'broadcast-join', id: this.id, heard: listOf(this.#positions), first: this.#isFresh };
  }

  #join(channel: Conversation, join: Message<'broadcast-join'>, wasFresh: boolean): void {
    // What was sent before nobody has who could bring a client that was not sent it.
    for (const { origin, seq } of join.heard) {
      const isNews = seq > (this.#positions.get(origin) ?? 0);
      const isBeginning = this.#isFresh || (join.first && origin === join.id);
      if (isNews && isBeginning && origin !== this.id) this.#positions.set(origin, seq);
    }
    const heard = join.first ? listOf(this.#positions) : join.heard;
    this.#isFresh = false;
    const link = new Link(
      channel,
      this.#log,
      { ...join, heard },
      {
        received: (from, messages) => this.#received(from, messages),
        acknowledged: () => this.#acknowledged(),
        closed: (closed) => this.#closed(closed),
      },
    );
    this.#links.add(link);
    if (wasFresh) this.feeds.joined();
    this.#schedule();
  }

  #received(link: Link, messages: readonly BroadcastMessage[]): void {
    for (const message of messages) {
      const isOnlySource = [...this.#links].every((one) => one === link);
      for (const next of this.#gaps.take(message, isOnlySource)) this.#accept(next);
    }
    this.#schedule();
  }

  #giveUpGaps(): void {
    for (const next of this.#gaps.giveUp()) this.#accept(next);
  }

  // What is sent while one is dealt with comes after it, for every client.
  #accept(message: BroadcastMessage, value?: { readonly sent: unknown }): void {
    this.#waiting.push({ message, value });
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        this.#deliver(next);
      }
    } finally {
      this.#isDelivering = false;
    }
    this.#schedule();
  }

  #deliver({ message, value }: Waiting): void {
    this.#positions.set(message.origin, message.seq);
    if (this.#links.size + this.#openings > 0) {
      this.#log.add(message);
      this.#limit();
    }
    if (message.fed !== undefined && value === undefined)
      this.feeds.forwarded(message.topic, message.fed, message.origin);
    this.clients.note(message);
    const isDue = (client: object) => this.clients.isDue(client, message);
    guarded(() => this.#topics.get(message.topic)?.deliver(message, isDue, value));
  }

  #limit(): void {
    while (this.#log.bytes > MAX_WAITING_BYTES) {
      const slow = [...this.#links].filter(({ low }) => low <= this.#log.start);
      for (const link of slow) {
        if (link.skipped === 0) {
          warn(
            `another generation has left more than ${MAX_WAITING_BYTES} bytes of broadcast messages unread: its clients are not sent the oldest`,
          );
        }
        link.skipTo(this.#log.start + 1);
      }
      this.#log.forgetBefore(this.#log.start + 1);
    }
  }

  #acknowledged(): void {
    this.#forget();
    this.#schedule();
  }

  #closed(link: Link): void {
    this.#links.delete(link);
    this.#forget();
    // Nobody else may have what it had not sent on.
    if (this.#links.size <= 1) this.#giveUpGaps();
    this.feeds.look();
    this.#tellDrained();
  }

  #forget(): void {
    if (this.#openings > 0) return;
    this.#log.forgetBefore(Math.min(this.#log.end, ...[...this.#links].map(({ low }) => low)));
  }

  #tellDrained(): void {
    if (!this.isFull) for (const told of this.#drained.splice(0)) told();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#links.size === 0) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      const heard = this.#safe();
      for (const link of this.#links) link.flush(heard);
      this.#tellDrained();
    });
  }

  /** Up to where no client is on its way that was not sent it. */
  #safe(): Positions {
    const [oldest] = this.#holds;
    return oldest ?? new Map(this.#positions);
  }
}

interface PublishOptions {
  /** The era of a feed, for what came from a broker outside. */
  readonly fed?: string;
  /** What is dealt with in this process, where that is another object. */
  readonly sent?: unknown;
}

// What a service's own code throws must not keep the message from anybody else.
function guarded(deliver: () => void): void {
  try {
    deliver();
  } catch (cause) {
    warn(
      `a broadcast message could not be dealt with: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'MoultWarning', code: 'MOULT_BROADCAST_INCOMPLETE' });
}
