import { isOfBroker } from './feed-senders.js';
import { type BroadcastMessage, includes, type Positions } from './message.js';

/**
 * Clients that have come from another generation. One that was sent more there than was dealt with here must not get
 * it twice; one that was sent less gets the rest when it is set up.
 */
export class Clients {
  readonly #come = new WeakSet<object>();
  readonly #ahead = new WeakMap<object, Positions>();
  /** Those that are not set up yet, and what they are to be sent then. */
  readonly #pending = new Map<object, BroadcastMessage[]>();

  /**
   * A client comes.
   * @param heard up to where it was sent messages.
   * @param missed what was dealt with here and not where it comes from.
   */
  arriving(client: object, heard: Positions, positions: Positions, missed: BroadcastMessage[]): void {
    const ahead: Positions = new Map();
    for (const [origin, seq] of heard) if (isAhead(positions, origin, seq)) ahead.set(origin, seq);
    if (ahead.size > 0) this.#ahead.set(client, ahead);
    this.#come.add(client);
    this.#pending.set(client, missed);
  }

  /** Whether it has come from another generation. */
  hasCome(client: object): boolean {
    return this.#come.has(client);
  }

  /** A message is dealt with: those that are not set up yet get it then. */
  note(message: BroadcastMessage): void {
    for (const [client, pending] of this.#pending) if (!this.#wasSent(client, message)) pending.push(message);
  }

  /** Takes what a client that is set up has missed, one after the other, as more may come meanwhile. */
  *missedBy(client: object): Generator<BroadcastMessage> {
    const pending = this.#pending.get(client);
    if (pending === undefined) return;
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) yield next;
    this.#pending.delete(client);
  }

  /**
   * Up to where a client was sent messages, where that is further than this process is; else undefined.
   * @param isOver whether nothing of a sender comes any more.
   */
  heardBy(client: object, positions: Positions, isOver: (sender: string) => boolean): Positions | undefined {
    const ahead = [...(this.#ahead.get(client) ?? [])].filter(
      ([one, seq]) => isAhead(positions, one, seq) && !isOver(one),
    );
    return ahead.length === 0 ? undefined : new Map([...positions, ...ahead]);
  }

  /** Whether some are not set up yet. */
  get arePending(): boolean {
    return this.#pending.size > 0;
  }

  /** It could not be set up. */
  gone(client: object): void {
    this.#pending.delete(client);
  }

  /** Whether a client is to be sent this message now. */
  isDue(client: object, message: BroadcastMessage): boolean {
    return !this.#pending.has(client) && !this.#wasSent(client, message);
  }

  #wasSent(client: object, message: BroadcastMessage): boolean {
    const ahead = this.#ahead.get(client);
    return ahead !== undefined && includes(ahead, message);
  }
}

// A sender of whom nothing has come yet: that something of it has come says where one is.
function isAhead(positions: Positions, origin: string, seq: number): boolean {
  return seq > (positions.get(origin) ?? (isOfBroker(origin) ? -1 : 0));
}
