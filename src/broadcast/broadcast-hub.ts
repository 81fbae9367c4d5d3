/*
 * Over 300 lines: what is sent, heard and still on its way to each peer is one account.
 */
import { randomBytes } from 'node:crypto';
import { MessageHistory, NOT_KEPT } from './backlog.js';
import { Clients } from './clients.js';
import { Conditions } from './conditions.js';
import { isOfBroker } from './feed-senders.js';
import type { FromBroker } from './feeds/feed-hub.js';
import { Feeds } from './feeds/feeds.js';
import { warnIncomplete } from './incomplete-warning.js';
import { type BroadcastJoin, beginTogether, introductionOf } from './introduction.js';
import { type Conversation, Link } from './link.js';
import { type BroadcastMessage, encodeMessage, listOf, positionsOf } from './message.js';
import { GapStore } from './order/gap-store.js';
import { DeliveryQueue } from './order/local-order.js';
import { PeerLinks } from './peer-links.js';
import { guarded, type PublishOptions, type Topic, Topics } from './topic.js';

/** How long a generation that ends waits for another that deals with nothing of what it has sent. */
const FLUSH_SILENCE_MS = 10_000;
const FLUSH_LOOK_MS = 100;

interface Waiting {
  readonly message: BroadcastMessage;
  readonly value: { readonly sent: unknown } | undefined;
  readonly by: Topic | undefined;
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
  readonly #links = new PeerLinks();
  readonly #history = new MessageHistory(this.#links);
  /** All that take part, or have. */
  readonly #known = new Set<string>();
  readonly #topics = new Topics();
  readonly #gaps: GapStore;
  readonly #deliveries = new DeliveryQueue<Waiting>((waiting) => this.#deliver(waiting));
  readonly #conditions = new Conditions();
  #seq = 0;
  /** What it has sent when it last began to ask others to take part. */
  #ownFrom = 0;
  /** The same when it first did. */
  #alone = 0;
  #names = 0;
  #isFresh = true;
  #isScheduled = false;

  constructor(id = randomBytes(6).toString('base64url')) {
    this.id = id;
    this.feeds = new Feeds(this);
    this.#gaps = new GapStore(this.#history.positions, {
      late: () => this.#giveUpGaps(),
      missed: (count) =>
        warnIncomplete(
          `${count} broadcast messages from another generation did not arrive: it ended, or was disconnected`,
        ),
    });
  }

  /** Whether another generation takes part. */
  get isShared(): boolean {
    return this.#links.size > 0;
  }

  /** Whether one was asked to take part, and has not answered yet. */
  get isOpening(): boolean {
    return this.#links.areOpening;
  }

  /** Whether one has ever. */
  get wasShared(): boolean {
    return !this.#isFresh;
  }

  /** Whether messages wait for another generation that is slow. */
  get isFull(): boolean {
    return this.#links.areFull;
  }

  /** Up to where this process is, for clients that leave it. */
  get heard(): { origin: string; seq: number }[] | undefined {
    return this.#topics.areNone && this.#links.size === 0 ? undefined : listOf(this.#history.reachedByAll);
  }

  /** The same for a client that is further: it was sent more where it came from, or was here first; else undefined. */
  heardBy(client: object): { origin: string; seq: number }[] | undefined {
    const isOver = (sender: string) => this.feeds.hasLeft(sender);
    const { reached, reachedByAll } = this.#history;
    const further = this.clients.heardBy(client, reachedByAll, isOver);
    if (further !== undefined) return listOf(further);
    return reached === reachedByAll || this.clients.hasCome(client) ? undefined : listOf(reached);
  }

  /** Whether a process takes part at the other end of a channel. */
  isLinkedTo(id: string): boolean {
    return this.#links.all.some(({ peer }) => peer === id);
  }

  /** What is kept for those that may lack it. */
  get kept(): { readonly size: number; readonly bytes: number } {
    return { size: this.#history.log.end - this.#history.log.start, bytes: this.#history.log.bytes };
  }

  /** Whether it knows a sender: its messages come by themselves. */
  knows(origin: string): boolean {
    return origin === this.id || this.#known.has(origin);
  }

  /**
   * Others may come that lack what was sent last: some of it is kept, also where nobody takes part yet.
   * @param joins whether this one joins other slots: before it has, it does not know what their clients lack.
   */
  keepRecent(joins = false): void {
    this.#links.expectSlots(joins);
    this.#history.keepRecent();
  }

  /** Deals with messages of this name from now on. */
  declare(topic: Topic): void {
    this.#topics.add(topic);
  }

  has(name: string): boolean {
    return this.#topics.has(name);
  }

  withdraw(topic: Topic): void {
    this.#topics.remove(topic);
  }

  /** Calls back as soon as a name is used here. */
  whenUsed(then: () => void): void {
    this.#topics.whenUsed(then);
  }

  /**
   * Sends a message to every generation, this one among them, where it is dealt with before this returns.
   * @returns whether more may be sent at once; else {@link drained} says when.
   * @throws MOULT_BAD_OPTION, MOULT_DATA_TOO_LARGE
   */
  publish(topic: string, value: unknown, { sent = value, by }: PublishOptions = {}): boolean {
    const payload = by === undefined || this.#isRead ? encodeMessage(topic, value) : NOT_KEPT;
    this.#seq += 1;
    const message = { origin: this.id, seq: this.#seq, topic, payload, fed: undefined };
    this.#accept({ message, value: { sent }, by });
    return !this.isFull;
  }

  /** A message of a broker, which every generation receives itself. */
  receive(by: Topic, from: FromBroker, value: unknown, sent: unknown): void {
    const payload = this.#isRead ? this.#toKeep(by.name, value) : NOT_KEPT;
    this.#accept({ message: { ...from, topic: by.name, payload }, value: { sent }, by });
  }

  // What cannot be kept, those who are here get all the same; others come when they are past it.
  #toKeep(name: string, value: unknown): Buffer {
    try {
      return encodeMessage(name, value);
    } catch {
      return NOT_KEPT;
    }
  }

  /** A name that no other process has, and none that this one had before. */
  newName(): string {
    this.#names += 1;
    return `${this.id}.${this.#names}`;
  }

  /** Messages of this sender may come from now on, and others are told. */
  begins(sender: string): void {
    this.#history.positions.set(sender, 0);
    this.#schedule();
  }

  /** Nothing of these senders comes any more. */
  forget(isOver: (sender: string) => boolean): void {
    this.#history.forget(isOver);
  }

  /** Up to which of a sender's messages is no longer kept for clients that come. */
  forgotten(sender: string): number {
    return this.#history.forgotten(sender);
  }

  /** Settles when no other generation is slow. */
  drained(): Promise<void> {
    return this.#conditions.until(() => !this.isFull);
  }

  /** Settles when the other side of a channel is not slow: at once, where it does not share. */
  keepsUp(channel: Conversation): Promise<void> {
    return this.#conditions.until(() => this.#links.over(channel)?.isBehind !== true);
  }

  /** How many bytes wait that the other side of a channel has not dealt with. */
  waitingBytes(channel: Conversation): number {
    const link = this.#links.over(channel);
    return link === undefined ? 0 : this.#history.log.bytesFrom(link.low);
  }

  /**
   * The other side of a channel may join, which it says itself.
   * @param isSlot as for {@link BroadcastHub.join}.
   */
  accept(channel: Conversation, isSlot = false): void {
    channel.on('broadcast-join', (join) => {
      const introduction = this.#introduction();
      channel.send(introduction);
      this.#join(channel, join, introduction, isSlot);
    });
  }

  /**
   * Joins the other side of a channel, as soon as a name is used here.
   * @param isSlot whether that is the generation of another slot, which serves for as long as this one does.
   */
  join(channel: Conversation, isSlot = false): void {
    this.whenUsed(() => {
      if (channel.isClosed) return;
      const introduction = this.#introduction();
      // What is sent before the answer is for the other side, too.
      const hasOpened = this.#links.opens(isSlot);
      const opened = () => {
        if (hasOpened()) this.feedMoved();
      };
      channel.closed.then(opened);
      channel.on('broadcast-join', (join) => {
        this.#join(channel, join, introduction, isSlot);
        opened();
      });
      channel.send(introduction);
    });
  }

  /**
   * Whether what clients may lack that have been sent messages up to there is still kept. A generation that is no neighbour
   * may be behind with what all neighbours are past.
   * @param giver tells apart those that offer clients: each may have to wait.
   */
  canTake(heard: readonly { origin: string; seq: number }[], giver: object = this): boolean {
    const isKept = ({ origin, seq }: { origin: string; seq: number }) =>
      isOfBroker(origin) || seq >= this.forgotten(origin);
    if (this.#links.awaitSlots && !this.#topics.areNone && !this.#links.over(giver)) return false;
    return heard.every(isKept) && this.feeds.canPlace(heard, giver);
  }

  /** Clients may come: nothing is forgotten. @returns ends that. */
  pin(): () => void {
    return this.#history.pin();
  }

  /** A client comes from another generation. @param heard up to where it was sent messages there. */
  arriving(client: object, heard: readonly { origin: string; seq: number }[]): void {
    const { isPast, mayBeAhead } = this.feeds.arrival(heard);
    const missed = this.#history.log.all().filter((message) => !isPast(message));
    const positions = positionsOf(heard.filter(({ origin }) => mayBeAhead(origin)));
    this.clients.arriving(client, positions, this.#history.reachedByAll, missed);
  }

  /** It is set up: it gets what it has missed. */
  arrived(client: object): void {
    for (const message of this.clients.missedBy(client)) {
      for (const topic of this.#topics.named(message.topic)) {
        guarded(() => topic.deliverTo?.(client, message));
      }
    }
  }

  /**
   * Settles when all that was sent has been dealt with elsewhere; not as long as others deal with it.
   * @param silenceMs how long one that deals with nothing is waited for.
   */
  async flushed(silenceMs = FLUSH_SILENCE_MS): Promise<void> {
    const startedAtMs = performance.now();
    const isWaitedFor = (link: Link, nowMs: number) =>
      !link.isFlushed && nowMs - Math.max(startedAtMs, link.heardAtMs) < silenceMs;
    const isFlushed = () => {
      const nowMs = performance.now();
      return !this.#links.all.some((link) => isWaitedFor(link, nowMs));
    };
    const looks = setInterval(() => this.#conditions.look(), FLUSH_LOOK_MS).unref();
    this.#schedule();
    await this.#conditions.until(isFlushed);
    clearInterval(looks);
  }

  /** Whether what is sent now is read again: by others, or for a client that is not set up. */
  get #isRead(): boolean {
    return this.#history.isKept || this.clients.arePending;
  }

  #introduction(): BroadcastJoin {
    if (!this.isOpening) this.#ownFrom = this.#seq;
    if (this.#isFresh) this.#alone = this.#ownFrom;
    return introductionOf(this.id, this.#history, this.#isFresh, this.#ownFrom, this.#alone);
  }

  #join(channel: Conversation, theirs: BroadcastJoin, ours: BroadcastJoin, isSlot: boolean): void {
    const heard = beginTogether(this.#history, theirs, ours, this.#isFresh);
    this.#isFresh = false;
    for (const origin of [theirs.id, ...this.#history.positions.keys()])
      if (!isOfBroker(origin)) this.#known.add(origin);
    const link = new Link(
      channel,
      this.#history.log,
      { ...theirs, heard },
      {
        received: (from, messages) => this.#received(from, messages),
        heardOf: (origin) => this.#known.add(origin),
        isPast: (has, message) => this.feeds.isPast(has, message),
        acknowledged: () => this.#acknowledged(),
        closed: (closed) => this.#closed(closed),
      },
      isSlot,
    );
    this.#links.add(link);
    this.feeds.look();
    this.#schedule();
  }

  #received(link: Link, messages: readonly BroadcastMessage[]): void {
    for (const message of messages) {
      const isOnlySource = this.#links.all.every((one) => one === link);
      for (const next of this.#gaps.take(message, isOnlySource))
        this.#accept({ message: next, value: undefined, by: undefined });
    }
    this.#schedule();
  }

  #giveUpGaps(): void {
    for (const next of this.#gaps.giveUp()) this.#accept({ message: next, value: undefined, by: undefined });
  }

  #accept(waiting: Waiting): void {
    if (this.#deliveries.add(waiting)) this.#schedule();
  }

  #deliver({ message, value, by }: Waiting): void {
    const audience = this.#history.audience(message);
    this.#history.add(message);
    if (audience === 'none') return;
    // An older release sends on what its broker brings; this side has its own.
    if (value === undefined && message.fed !== undefined && this.feeds.has(message.topic)) return;
    this.clients.note(message);
    const isMeant = (client: object) => audience === 'all' || this.clients.hasCome(client);
    const isDue = (client: object) => isMeant(client) && this.clients.isDue(client, message);
    const topics = by === undefined ? this.#topics.named(message.topic) : [by];
    for (const topic of topics) {
      if (audience === 'all' || topic.deliverTo !== undefined)
        guarded(() => topic.deliver(message, isDue, value));
    }
  }

  #acknowledged(): void {
    this.#history.trim();
    this.#schedule();
  }

  #closed(link: Link): void {
    this.#links.remove(link);
    this.#history.trim();
    // Nobody else may have what it had not sent on.
    if (this.#links.size <= 1) this.#giveUpGaps();
    this.#conditions.look();
  }

  /** A feed is settled, or has come to a mark: others may be past what is kept. */
  feedMoved(): void {
    for (const link of this.#links.all) link.look();
    this.#history.trim();
    this.#conditions.look();
  }

  /** Settles when clients can be placed among the messages of all feeds; see {@link Feeds.areSettled}. */
  feedsSettled(): Promise<void> {
    return this.#conditions.until(() => this.feeds.areSettled);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#links.size === 0) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      for (const link of this.#links.all) link.flush(this.#history.positions);
      this.#conditions.look();
    });
  }
}
