import type { Channel } from '../channel/channel.js';
import { MAX_BROADCASTS, MAX_HEARD } from '../protocol/limits.js';
import type { Message } from '../protocol/messages.js';
import { isOfBroker } from './feed-senders.js';
import {
  type BroadcastMessage,
  includes,
  MAX_MESSAGE_BYTES,
  type Positions,
  positionsOf,
} from './message.js';
import type { MessageLog } from './message-log.js';
import { SendWindow } from './send-window.js';

export type Conversation = Pick<Channel, 'on' | 'send' | 'closed' | 'isClosed'>;

/** What a link tells its hub. */
export interface LinkEvents {
  received(link: Link, messages: readonly BroadcastMessage[]): void;
  /** There is such a sender. */
  heardOf(origin: string): void;
  /** Whether one who is there has dealt with a message. */
  isPast(heard: Positions, message: BroadcastMessage): boolean;
  /** The other side has dealt with more. */
  acknowledged(): void;
  closed(link: Link): void;
}

/** One other generation that takes part, at the other end of a channel. */
export class Link {
  /** The other side's own messages have this sender. */
  readonly peer: string;
  /** All before this number the other side has dealt with, and sends no client that has not been sent it. */
  low: number;
  /** Whether the other side is another slot, and not the other side of a handover. */
  readonly isSlot: boolean;
  /** When it has last dealt with something, by `performance.now()`. */
  heardAtMs = performance.now();
  /** How many messages it was not sent, because it did not read. */
  skipped = 0;
  readonly #channel: Conversation;
  readonly #events: LinkEvents;
  readonly #log: MessageLog;
  readonly #window: SendWindow;
  readonly #told: Positions = new Map();
  readonly #heard: Positions;
  #next: number;

  constructor(
    channel: Conversation,
    log: MessageLog,
    join: Message<'broadcast-join'>,
    events: LinkEvents,
    isSlot: boolean,
  ) {
    this.#channel = channel;
    this.#events = events;
    this.#log = log;
    this.#window = new SendWindow(log);
    this.isSlot = isSlot;
    this.peer = join.id;
    this.#heard = positionsOf(join.heard);
    this.#next = log.start;
    this.low = log.start;
    channel.on('broadcast', (message, { attachment }) => {
      this.#learn(message.heard ?? []);
      events.received(this, messagesOf(message, attachment));
      events.acknowledged();
    });
    channel.on('broadcast-heard', ({ heard }) => {
      this.#learn(heard);
      events.acknowledged();
    });
    channel.closed.then(() => events.closed(this));
  }

  /** Whether it goes over this channel. */
  isOver(channel: object): boolean {
    return this.#channel === channel;
  }

  /** Whether all that is to be sent has been sent, and dealt with there. */
  get isFlushed(): boolean {
    return this.#channel.isClosed || (this.#next >= this.#log.end && this.#window.isEmpty);
  }

  /** Whether more waits than may be on its way. */
  get isFull(): boolean {
    const next = this.#log.at(this.#next);
    return !this.#channel.isClosed && next !== undefined && !this.#window.hasRoomFor(next);
  }

  /** Whether the other side has much left to deal with: also where more than usual may be on its way, because more is made. */
  get isBehind(): boolean {
    return this.isFull || (!this.#channel.isClosed && this.#window.isWide);
  }

  /** Sends what may be sent now, and up to where this side is. */
  flush(heard: Positions): void {
    if (this.#channel.isClosed) return;
    for (;;) {
      const batch = this.#batch();
      if (batch.length === 0) break;
      const items = batch.map(({ origin, seq, topic, payload, fed }) => ({
        origin,
        seq,
        topic,
        bytes: payload.length,
        ...(fed === undefined ? {} : { fed }),
      }));
      const news = this.#news(heard);
      const told = news.length === 0 ? {} : { heard: news };
      const attachment = Buffer.concat(batch.map(({ payload }) => payload));
      this.#channel.send({ type: 'broadcast', items, ...told }, [], attachment);
    }
    const news = this.#news(heard);
    if (news.length > 0) this.#channel.send({ type: 'broadcast-heard', heard: news });
  }

  /** It reads too slowly: what comes before this number it does not get. */
  skipTo(index: number): void {
    for (; this.#next < index; this.#next += 1) {
      const message = this.#log.at(this.#next);
      if (message !== undefined && !this.#has(message)) this.skipped += 1;
    }
    this.low = Math.max(this.low, index);
    this.look();
  }

  #batch(): BroadcastMessage[] {
    const batch: BroadcastMessage[] = [];
    let bytes = 0;
    while (batch.length < MAX_BROADCASTS) {
      const message = this.#log.at(this.#next);
      if (message === undefined) break;
      const { length } = message.payload;
      if (!this.#has(message)) {
        if (bytes + length > MAX_MESSAGE_BYTES || !this.#window.hasRoomFor(message)) break;
        bytes += length;
        this.#window.add(message);
        batch.push(message);
      }
      this.#next += 1;
    }
    return batch;
  }

  #has(message: BroadcastMessage): boolean {
    // What comes from a broker it receives itself.
    const { origin } = message;
    return origin === this.peer || isOfBroker(origin) || includes(this.#heard, message);
  }

  #news(heard: Positions): { origin: string; seq: number }[] {
    const news: { origin: string; seq: number }[] = [];
    for (const [origin, seq] of heard) {
      if (seq <= (this.#told.get(origin) ?? -1) || news.length >= MAX_HEARD) continue;
      this.#told.set(origin, seq);
      news.push({ origin, seq });
    }
    return news;
  }

  #learn(heard: Message<'broadcast-heard'>['heard']): void {
    this.heardAtMs = performance.now();
    for (const { origin, seq } of heard) {
      if (!isOfBroker(origin)) this.#events.heardOf(origin);
      if (seq > (this.#heard.get(origin) ?? -1)) this.#heard.set(origin, seq);
    }
    this.#window.heard((message) => includes(this.#heard, message));
    this.look();
  }

  /** Looks how far the other side is in what is kept. */
  look(): void {
    for (let next = this.#log.at(this.low); next !== undefined; next = this.#log.at(this.low)) {
      if (!this.#events.isPast(this.#heard, next)) break;
      this.low += 1;
    }
    this.#next = Math.max(this.#next, this.low);
  }
}

// As copies, so that none keeps the memory of all.
function messagesOf({ items }: Message<'broadcast'>, attachment: Buffer): BroadcastMessage[] {
  let at = 0;
  return items.map(({ origin, seq, topic, bytes, fed }) => {
    const payload = Buffer.from(attachment.subarray(at, at + bytes));
    at += bytes;
    return { origin, seq, topic, payload, fed };
  });
}
