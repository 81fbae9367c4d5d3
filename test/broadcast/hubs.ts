import { setImmediate as turn } from 'node:timers/promises';
import { BroadcastHub } from '#moult/broadcast/broadcast-hub.js';
import type { Conversation } from '#moult/broadcast/link.js';
import { decodeMessage } from '#moult/broadcast/message.js';
import { End } from './world.js';

/** Three hubs of other slots, which are not linked yet. */
export class Hubs {
  readonly a = new BroadcastHub('a');
  readonly b = new BroadcastHub('b');
  readonly c = new BroadcastHub('c');
  /** What each has been given. */
  readonly got: Record<string, unknown[]> = {};
  readonly #ends: End[] = [];

  constructor() {
    for (const hub of [this.a, this.b, this.c]) {
      const mine: unknown[] = [];
      this.got[hub.id] = mine;
      hub.declare({ name: 'news', deliver: (message) => mine.push(decodeMessage(message)) });
    }
  }

  /** @returns both ends of the channel: of the one that joins, and of the other. */
  readonly link = (from: BroadcastHub, to: BroadcastHub): [End, End] => {
    const [one, other] = [new End(), new End()];
    one.other = other;
    other.other = one;
    this.#ends.push(one, other);
    to.accept(other as unknown as Conversation, true);
    from.join(one as unknown as Conversation, true);
    return [one, other];
  };

  /** Everything that is on its way arrives, at some ends or at all. */
  readonly arrive = (isMeant: (end: End) => boolean = () => true): Promise<void> =>
    arriveAt(this.#ends.filter(isMeant));
}

/** Clients of a hub: what each has got of the messages that go to clients. */
export function clientsOf(hub: BroadcastHub): Map<object, unknown[]> {
  const clients = new Map<object, unknown[]>();
  hub.declare({
    name: 'news',
    deliver: (message, isDue) => {
      for (const [client, got] of clients) if (isDue(client)) got.push(decodeMessage(message));
    },
    deliverTo: (client, message) => clients.get(client)?.push(decodeMessage(message)),
  });
  return clients;
}

/** Everything that is on its way to these ends arrives. */
export async function arriveAt(ends: readonly End[]): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet += 1) {
    for (const { queue } of ends) {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        next();
        quiet = 0;
      }
    }
    await turn();
  }
}
