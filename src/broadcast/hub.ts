/*
 * Over 300 lines: what is sent, heard and still on its way to each peer is one account.
 */
import { randomBytes } from 'node:crypto';
import type { Message } from '../protocol/messages.js';
import { Clients } from './clients.js';
import type { FromBroker } from './feed-hub.js';
import { isOfBroker } from './feed-senders.js';
import { Feeds } from './feeds.js';
import { GapStore } from './gap-store.js';
import { type Conversation, Link } from './link.js';
import { type BroadcastMessage, encodeMessage, listOf, type Positions, positionsOf } from './message.js';
import { MessageLog } from './message-log.js';
import type { PublishOptions, Topic } from './topic.js';

/**
 * What waits for other slots has room for this; one that leaves more unread is left out. The other side of a handover is
 * never: what it has not read is kept, as memory allows.
 */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** Between slots so much is kept for one that is linked a moment later. */
const RECENT_MESSAGES = 1000;
const RECENT_BYTES = 1024 * 1024;
/** So many senders are known; those that have sent last. Two generations of each slot are far fewer. */
const MAX_SENDERS = 512;
/** So long a generation that ends waits for another that deals with nothing of what it has sent. */
const FLUSH_SILENCE_MS = 10_000;
const FLUSH_LOOK_MS = 100;

interface Waiting {
  readonly message: BroadcastMessage;
  readonly value: { readonly sent: unknown } | undefined;
  readonly by: Topic | undefined;
}

const NO_BYTES = Buffer.alloc(0);
const SOMEBODY = {};

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
  /** All that take part, or have. */
  readonly #known = new Set<string>();
  readonly #topics = new Map<string, Set<Topic>>();
  readonly #links = new Set<Link>();
  readonly #gaps: GapStore;
  readonly #onUse: (() => void)[] = [];
  /** Up to where messages are not kept any more. */
  readonly #forgotten: Positions = new Map();
  #pins = 0;
  #recent = 0;
  readonly #waiting: Waiting[] = [];
  /** Each says whether what it waits for has come; then it is done. */
  readonly #waits = new Set<() => boolean>();
  #openings = 0;
  /** Of them, those to other slots. */
  #slotOpenings = 0;
  #seq = 0;
  #names = 0;
  #isFresh = true;
  #isDelivering = false;
  #isScheduled = false;

  constructor(id = randomBytes(6).toString('base64url')) {
    this.id = id;
    this.feeds = new Feeds(this);
    this.#gaps = new GapStore(this.#positions, {
      late: () => this.#giveUpGaps(),
      missed: (count) =>
        warn(
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
    return this.#openings > 0;
  }

  /** Whether one has ever. */
  get wasShared(): boolean {
    return !this.#isFresh;
  }

  /** Whether messages wait for another generation that is slow. */
  get isFull(): boolean {
    return [...this.#links].some((link) => link.isFull);
  }

  /** Up to where this process is, for clients that leave it. */
  get heard(): { origin: string; seq: number }[] | undefined {
    return this.#topics.size + this.#links.size === 0 ? undefined : listOf(this.#positions);
  }

  /** The same for a client that was sent more where it came from, and has not been overtaken since; else undefined. */
  heardBy(client: object): { origin: string; seq: number }[] | undefined {
    const isOver = (sender: string) => this.feeds.hasLeft(sender);
    const further = this.clients.heardBy(client, this.#positions, isOver);
    return further === undefined ? undefined : listOf(further);
  }

  /** Whether a process takes part at the other end of a channel. */
  isLinkedTo(id: string): boolean {
    return [...this.#links].some(({ peer }) => peer === id);
  }

  /** What is kept for those that may lack it. */
  get kept(): { readonly size: number; readonly bytes: number } {
    return { size: this.#log.end - this.#log.start, bytes: this.#log.bytes };
  }

  /** Whether it knows a sender: its messages come by themselves. */
  knows(origin: string): boolean {
    return origin === this.id || this.#known.has(origin);
  }

  /** Others may come that lack what was sent last: some of it is kept, also where nobody takes part yet. */
  keepRecent(): void {
    this.#recent = RECENT_MESSAGES;
  }

  /** Deals with messages of this name from now on. */
  declare(topic: Topic): void {
    const same = this.#topics.get(topic.name) ?? new Set();
    this.#topics.set(topic.name, same.add(topic));
    for (const told of this.#onUse.splice(0)) told();
  }

  has(name: string): boolean {
    return this.#topics.has(name);
  }

  withdraw(topic: Topic): void {
    const same = this.#topics.get(topic.name);
    if (same?.delete(topic) && same.size === 0) this.#topics.delete(topic.name);
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
  publish(topic: string, value: unknown, { sent = value, by }: PublishOptions = {}): boolean {
    const payload = by === undefined || this.#isRead ? encodeMessage(topic, value) : NO_BYTES;
    this.#seq += 1;
    const message = { origin: this.id, seq: this.#seq, topic, payload, fed: undefined };
    this.#accept({ message, value: { sent }, by });
    return !this.isFull;
  }

  /** A message of a broker, which every generation receives itself. */
  receive(by: Topic, from: FromBroker, value: unknown, sent: unknown): void {
    const payload = this.#isRead ? this.#toKeep(by.name, value) : NO_BYTES;
    this.#accept({ message: { ...from, topic: by.name, payload }, value: { sent }, by });
  }

  // What cannot be kept, those who are here get all the same; others come when they are past it.
  #toKeep(name: string, value: unknown): Buffer {
    try {
      return encodeMessage(name, value);
    } catch {
      return NO_BYTES;
    }
  }

  /** A name that no other process has, and none that this one had before. */
  newName(): string {
    this.#names += 1;
    return `${this.id}.${this.#names}`;
  }

  /** Messages of this sender may come from now on, and others are told. */
  begins(sender: string): void {
    this.#positions.set(sender, 0);
    this.#schedule();
  }

  /** Nothing of these senders comes any more. */
  forget(isOver: (sender: string) => boolean): void {
    for (const known of [this.#positions, this.#forgotten]) {
      for (const sender of known.keys()) if (isOver(sender)) known.delete(sender);
    }
  }

  /** Up to which of a sender's messages is no longer kept for clients that come. */
  forgotten(sender: string): number {
    return this.#forgotten.get(sender) ?? 0;
  }

  /** Settles when no other generation is slow. */
  drained(): Promise<void> {
    return this.#until(() => !this.isFull);
  }

  /** Settles when the other side of a channel is not slow: at once, where it does not share. */
  keepsUp(channel: Conversation): Promise<void> {
    return this.#until(() => ![...this.#links].some((link) => link.isOver(channel) && link.isFull));
  }

  /** How many bytes wait that the other side of a channel has not dealt with. */
  waitingBytes(channel: Conversation): number {
    const link = [...this.#links].find((one) => one.isOver(channel));
    return link === undefined ? 0 : this.#log.bytesFrom(link.low);
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
      // What is sent before the answer is for the other side, too.
      const slots = isSlot ? 1 : 0;
      this.#openings += 1;
      this.#slotOpenings += slots;
      let isOpening = true;
      const opened = () => {
        if (!isOpening) return;
        isOpening = false;
        this.#openings -= 1;
        this.#slotOpenings -= slots;
        this.feedMoved();
      };
      channel.closed.then(opened);
      const introduction = this.#introduction();
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
  canTake(heard: readonly { origin: string; seq: number }[], giver: object = SOMEBODY): boolean {
    const isKept = ({ origin, seq }: { origin: string; seq: number }) =>
      isOfBroker(origin) || seq >= this.forgotten(origin);
    return heard.every(isKept) && this.feeds.canPlace(heard, giver);
  }

  /** Clients may come: nothing is forgotten. @returns ends that. */
  pin(): () => void {
    this.#pins += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#pins -= 1;
      this.#forget();
    };
  }

  /** A client comes from another generation. @param heard up to where it was sent messages there. */
  arriving(client: object, heard: readonly { origin: string; seq: number }[]): void {
    const { isPast, mayBeAhead } = this.feeds.arrival(heard);
    const missed = this.#log.all().filter((message) => !isPast(message));
    const positions = positionsOf(heard.filter(({ origin }) => mayBeAhead(origin)));
    this.clients.arriving(client, positions, this.#positions, missed);
  }

  /** It is set up: it gets what it has missed. */
  arrived(client: object): void {
    for (const message of this.clients.missedBy(client)) {
      for (const topic of this.#topics.get(message.topic) ?? []) {
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
      return ![...this.#links].some((link) => isWaitedFor(link, nowMs));
    };
    const looks = setInterval(() => this.#look(), FLUSH_LOOK_MS).unref();
    this.#schedule();
    await this.#until(isFlushed);
    clearInterval(looks);
  }

  /** Whether anybody may need again what is sent now. */
  get #isKept(): boolean {
    return this.#links.size + this.#openings + this.#recent + this.#pins > 0;
  }

  /** Whether what is sent now is read again: by others, or for a client that is not set up. */
  get #isRead(): boolean {
    return this.#isKept || this.clients.arePending;
  }

  #introduction(): Message<'broadcast-join'> {
    return {
      type: 'broadcast-join',
      id: this.id,
      heard: listOf(this.#positions),
      first: this.#isFresh,
    };
  }

  /** @param said how this side has introduced itself. */
  #join(
    channel: Conversation,
    join: Message<'broadcast-join'>,
    said: Message<'broadcast-join'>,
    isSlot: boolean,
  ): void {
    // What was sent before nobody has who could bring a client that was not sent it. One that joins several at once is
    // sent it by none of them; of senders that it knows by then another one has begun to tell it.
    const ofGenerations = join.heard.filter(({ origin }) => !isOfBroker(origin));
    for (const { origin, seq } of ofGenerations) {
      const known = this.#positions.get(origin);
      const isNews = seq > (known ?? 0);
      const isBeginning =
        this.#isFresh || (join.first && origin === join.id) || (said.first && known === undefined);
      if (!isNews || !isBeginning || origin === this.id) continue;
      this.#positions.set(origin, seq);
      this.#forgotten.set(origin, seq);
    }
    if (!this.#positions.has(join.id)) this.#positions.set(join.id, 0);
    for (const origin of [join.id, ...this.#positions.keys()])
      if (!isOfBroker(origin)) this.#known.add(origin);
    // One that shares for the first time begins with what this side has said, which may be long ago.
    const heard = join.first ? begun(said.heard, join.heard) : join.heard;
    this.#isFresh = false;
    const link = new Link(
      channel,
      this.#log,
      { ...join, heard },
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
      const isOnlySource = [...this.#links].every((one) => one === link);
      for (const next of this.#gaps.take(message, isOnlySource))
        this.#accept({ message: next, value: undefined, by: undefined });
    }
    this.#schedule();
  }

  #giveUpGaps(): void {
    for (const next of this.#gaps.giveUp()) this.#accept({ message: next, value: undefined, by: undefined });
  }

  // What is sent while one is dealt with comes after it, for every client.
  #accept(waiting: Waiting): void {
    this.#waiting.push(waiting);
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

  #deliver({ message, value, by }: Waiting): void {
    this.#note(message);
    if (this.#isKept && message.payload !== NO_BYTES) {
      this.#log.add(message);
      this.#limit();
      if (this.#links.size === 0) this.#forget();
    } else this.#forgotten.set(message.origin, message.seq);
    // An older release sends on what its broker brings; this side has its own.
    if (value === undefined && message.fed !== undefined && this.feeds.has(message.topic)) return;
    this.clients.note(message);
    const isDue = (client: object) => this.clients.isDue(client, message);
    const topics = by === undefined ? this.#topics.get(message.topic) : [by];
    for (const topic of topics ?? []) guarded(() => topic.deliver(message, isDue, value));
  }

  // The oldest are those of generations that are gone for long.
  #note({ origin, seq }: BroadcastMessage): void {
    this.#positions.delete(origin);
    this.#positions.set(origin, seq);
    if (this.#positions.size <= MAX_SENDERS) return;
    // Feeds forget their own.
    const generations = [...this.#positions.keys()].filter((one) => !isOfBroker(one));
    const [oldest] = generations;
    if (generations.length <= MAX_SENDERS || oldest === undefined) return;
    this.#positions.delete(oldest);
    this.#forgotten.delete(oldest);
  }

  // What somebody else needs stays anyway.
  #limit(): void {
    while (this.#log.bytes > MAX_WAITING_BYTES && !this.#isNeeded) {
      const slow = [...this.#links].filter(({ low }) => low <= this.#log.start);
      for (const link of slow) {
        const { skipped } = link;
        link.skipTo(this.#log.start + 1);
        if (skipped > 0 || link.skipped === 0) continue;
        warn(
          `another slot left more than ${MAX_WAITING_BYTES} bytes of broadcast messages unread: its clients miss the oldest ones`,
        );
      }
      this.#forgetBefore(this.#log.start + 1);
    }
  }

  /** Whether the oldest message may be needed by clients that come, or by the other side of a handover. */
  get #isNeeded(): boolean {
    if (this.#openings - this.#slotOpenings + this.#pins > 0) return true;
    // The other side of a handover has these itself, or cannot reach the broker: its clients wait until it is past them.
    if (isOfBroker(this.#log.at(this.#log.start)?.origin ?? '')) return false;
    return [...this.#links].some(({ isSlot, low }) => !isSlot && low <= this.#log.start);
  }

  #forgetBefore(index: number): void {
    for (const { origin, seq } of this.#log.forgetBefore(index)) this.#forgotten.set(origin, seq);
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
    this.#look();
  }

  #forget(): void {
    if (this.#openings + this.#pins > 0) return;
    const isMuch = this.#log.bytes > RECENT_BYTES;
    const kept = isMuch ? this.#log.end : Math.max(this.#log.start, this.#log.end - this.#recent);
    this.#forgetBefore(Math.min(kept, ...[...this.#links].map(({ low }) => low)));
  }

  /** A feed is settled, or has come to a mark: others may be past what is kept. */
  feedMoved(): void {
    for (const link of this.#links) link.look();
    this.#forget();
    this.#look();
  }

  /** Settles when clients can be placed among the messages of all feeds; see {@link Feeds.areSettled}. */
  feedsSettled(): Promise<void> {
    return this.#until(() => this.feeds.areSettled);
  }

  #until(isOver: () => boolean): Promise<void> {
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waits.add(() => {
        const isDone = isOver();
        if (isDone) resolve();
        return isDone;
      });
    });
  }

  #look(): void {
    for (const wait of this.#waits) if (wait()) this.#waits.delete(wait);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#links.size === 0) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      for (const link of this.#links) link.flush(this.#positions);
      this.#look();
    });
  }
}

/** @param said up to where one begins that shares for the first time. @param told what it says itself. */
function begun(
  said: Message<'broadcast-join'>['heard'],
  told: Message<'broadcast-join'>['heard'],
): Message<'broadcast-join'>['heard'] {
  return [
    ...said.filter(({ origin }) => !isOfBroker(origin)),
    ...told.filter(({ origin }) => isOfBroker(origin)),
  ];
}

// What a service's own code throws must not keep the message from anybody else.
function guarded(deliver: () => void): void {
  try {
    deliver();
  } catch (cause) {
    warn(
      `a broadcast message could not be handled: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'MoultWarning', code: 'MOULT_BROADCAST_INCOMPLETE' });
}
