import { broadcastHub } from '../../broadcast/shared.js';
import type { Channel } from '../../channel/channel.js';
import { openWhenGreeted } from '../../channel/open.js';
import type { Message } from '../../protocol/messages.js';

/** The channels to the generations of other slots, over which broadcasts are shared; none until something is broadcast. */
export class BroadcastPeers {
  readonly #number: number;
  readonly #open = new Map<number, Channel | 'opening'>();
  #wanted: Message<'peers'>['peers'] = [];
  #isWaiting = false;

  /** @param number of this generation: of two the later one opens. */
  constructor(number: number) {
    this.#number = number;
  }

  /** These serve in other slots now. */
  learn(peers: Message<'peers'>['peers']): void {
    this.#wanted = peers;
    const hub = broadcastHub();
    hub.keepRecent();
    if (this.#isWaiting) this.#join();
    else hub.whenUsed(() => this.#join());
    this.#isWaiting = true;
  }

  #join(): void {
    for (const { generation, door } of this.#wanted) {
      if (generation < this.#number && !this.#open.has(generation)) void this.#meet(generation, door);
    }
  }

  async #meet(generation: number, door: string): Promise<void> {
    this.#open.set(generation, 'opening');
    const introduce = () => ({ role: 'neighbour', generation: this.#number, shares: true }) as const;
    const opening = await openWhenGreeted(door, introduce).catch(() => undefined);
    // Another one serves there soon, and then there is news.
    if (opening === undefined) {
      this.#open.delete(generation);
      return;
    }
    const channel = opening.toChannel();
    channel.unref();
    this.#open.set(generation, channel);
    channel.closed.then(() => this.#open.delete(generation));
    broadcastHub().join(channel, true);
  }
}
