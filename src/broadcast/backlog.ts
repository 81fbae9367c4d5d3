import { isOfBroker } from './feed-senders.js';
import { warnIncomplete } from './incomplete-warning.js';
import type { BroadcastMessage, Positions } from './message.js';
import { MessageLog } from './message-log.js';
import type { PeerLinks } from './peer-links.js';

/**
 * What waits for other slots has room for this; one that leaves more unread is left out. The other side of a handover is
 * never: what it has not read is kept, as memory allows.
 */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** Between slots so much is kept for one that is linked a moment later. */
const RECENT_MESSAGES = 1000;
const RECENT_BYTES = 1024 * 1024;
/** How many senders are known; those that have sent last. Two generations of each slot are far fewer. */
const MAX_SENDERS = 512;

/** The payload of a message that nobody needs again. */
export const NOT_KEPT = Buffer.alloc(0);

/** Where this process begins with a sender whose earlier messages still come. */
interface Beginning {
  /** The last one that is no news here. */
  readonly seq: number;
  /** Who brings those before. */
  readonly by: string;
  /** Whether they are from before their sender shared with anybody: then no client has to get them. */
  readonly areUnshared: boolean;
}

/** Up to where this process is with the messages of each sender, and those of them that others may lack. */
export class MessageHistory {
  readonly positions: Positions = new Map();
  readonly log = new MessageLog();
  readonly #links: PeerLinks;
  /** Up to where messages are not kept any more. */
  readonly #forgotten: Positions = new Map();
  /** From where on messages are news here, where this process is not there yet: its first clients get none before it. */
  readonly #begins = new Map<string, Beginning>();
  #pins = 0;
  #recent = 0;

  constructor(links: PeerLinks) {
    this.#links = links;
  }

  /** Whether anybody may need again what is sent now. */
  get isKept(): boolean {
    return this.#links.size > 0 || this.#links.areOpening || this.#recent + this.#pins > 0;
  }

  /** Others may come that lack what was sent last: some of it is kept, also where nobody takes part yet. */
  keepRecent(): void {
    this.#recent = RECENT_MESSAGES;
  }

  /** A message is dealt with here. */
  add(message: BroadcastMessage): void {
    this.#note(message);
    if (this.isKept && message.payload !== NOT_KEPT) {
      this.log.add(message);
      this.#limit();
      if (this.#links.size === 0) this.trim();
    } else this.#forgotten.set(message.origin, message.seq);
  }

  /**
   * This process begins with a sender, whose messages before that it was not sent.
   * @param kept from where on the other side brings them, for those who may lack them.
   */
  beginAt(sender: string, { seq, by, areUnshared }: Beginning, kept: number): void {
    const known = this.positions.get(sender) ?? 0;
    const from = Math.max(known, kept);
    if (from > known) this.#forgotten.set(sender, from);
    this.positions.set(sender, from);
    this.#begins.delete(sender);
    if (from < seq) this.#begins.set(sender, { seq, by, areUnshared });
  }

  /** To which clients of this process a message may go: to all, to those that have come from others, or to none. */
  audience({ origin, seq }: BroadcastMessage): 'all' | 'come' | 'none' {
    const beginning = this.#begins.get(origin);
    if (beginning === undefined || seq > beginning.seq) return 'all';
    return beginning.areUnshared ? 'none' : 'come';
  }

  /** Up to where the first clients of this process are: those that have not come from others. */
  get reached(): Positions {
    return this.#with(() => true);
  }

  /** Up to where all clients of this process are. */
  get reachedByAll(): Positions {
    const isBringing = (by: string) => this.#links.all.some(({ peer }) => peer === by);
    return this.#with(({ by, areUnshared }) => areUnshared || !isBringing(by));
  }

  #with(isReached: (beginning: Beginning) => boolean): Positions {
    if (this.#begins.size === 0) return this.positions;
    const begins = [...this.#begins].filter(([, beginning]) => isReached(beginning));
    return new Map([...this.positions, ...begins.map(([sender, { seq }]) => [sender, seq] as const)]);
  }

  /** Up to where messages are not kept, of those senders whose last ones are. */
  get keptFrom(): Positions {
    const senders = new Set(this.log.all().map(({ origin }) => origin));
    return new Map([...senders].filter((one) => !isOfBroker(one)).map((one) => [one, this.#kept(one)]));
  }

  /** Nothing of these senders comes any more. */
  forget(isOver: (sender: string) => boolean): void {
    for (const known of [this.positions, this.#forgotten, this.#begins]) {
      for (const sender of known.keys()) if (isOver(sender)) known.delete(sender);
    }
  }

  /** Up to which of a sender's messages is no longer kept for clients that come. */
  forgotten(sender: string): number {
    return Math.max(this.#kept(sender), this.#begins.get(sender)?.seq ?? 0);
  }

  #kept(sender: string): number {
    return this.#forgotten.get(sender) ?? 0;
  }

  /** Clients may come: nothing is forgotten. @returns ends that. */
  pin(): () => void {
    this.#pins += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#pins -= 1;
      this.trim();
    };
  }

  /** Forgets what nobody lacks any more. */
  trim(): void {
    if (this.#links.areOpening || this.#pins > 0) return;
    const isMuch = this.log.bytes > RECENT_BYTES;
    const kept = isMuch ? this.log.end : Math.max(this.log.start, this.log.end - this.#recent);
    this.#forgetBefore(Math.min(kept, ...this.#links.all.map(({ low }) => low)));
  }

  // The oldest are those of generations that are gone for long.
  #note({ origin, seq }: BroadcastMessage): void {
    this.positions.delete(origin);
    this.positions.set(origin, seq);
    if (seq >= (this.#begins.get(origin)?.seq ?? seq + 1)) this.#begins.delete(origin);
    if (this.positions.size <= MAX_SENDERS) return;
    // Feeds forget their own.
    const generations = [...this.positions.keys()].filter((one) => !isOfBroker(one));
    const [oldest] = generations;
    if (generations.length <= MAX_SENDERS || oldest === undefined) return;
    this.positions.delete(oldest);
    this.#forgotten.delete(oldest);
    this.#begins.delete(oldest);
  }

  // What somebody else needs stays anyway.
  #limit(): void {
    while (this.log.bytes > MAX_WAITING_BYTES && !this.#isOldestNeeded) {
      const slow = this.#links.all.filter(({ low }) => low <= this.log.start);
      for (const link of slow) {
        const { skipped } = link;
        link.skipTo(this.log.start + 1);
        if (skipped > 0 || link.skipped === 0) continue;
        warnIncomplete(
          `another slot left more than ${MAX_WAITING_BYTES} bytes of broadcast messages unread: its clients miss the oldest ones`,
        );
      }
      this.#forgetBefore(this.log.start + 1);
    }
  }

  /** Whether the oldest message may be needed by clients that come, or by the other side of a handover. */
  get #isOldestNeeded(): boolean {
    if (this.#links.isHandoverOpening || this.#pins > 0) return true;
    // The other side of a handover has these itself, or cannot reach the broker: its clients wait until it is past them.
    if (isOfBroker(this.log.at(this.log.start)?.origin ?? '')) return false;
    return this.#links.all.some(({ isSlot, low }) => !isSlot && low <= this.log.start);
  }

  #forgetBefore(index: number): void {
    for (const { origin, seq } of this.log.forgetBefore(index)) this.#forgotten.set(origin, seq);
  }
}
