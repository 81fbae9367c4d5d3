import { broadcastHub } from '../../broadcast/shared.js';
import type { Channel } from '../../channel/channel.js';
import { openWhenGreeted } from '../../channel/open.js';
import type { Message } from '../../protocol/messages.js';

/** How long after one could not be met, or was lost, it is tried again; twice as long each time until there is news. */
const FIRST_AGAIN_MS = 250;
const LONGEST_AGAIN_MS = 30_000;

/** The channels to the generations of other slots, over which broadcasts are shared; none until something is broadcast. */
export class BroadcastPeers {
  readonly #number: number;
  readonly #open = new Map<number, Channel | 'opening'>();
  #wanted: Message<'peers'>['peers'] = [];
  #isWaiting = false;
  #again: NodeJS.Timeout | undefined;
  #againMs = FIRST_AGAIN_MS;

  /** @param number of this generation: of two the later one opens. */
  constructor(number: number) {
    this.#number = number;
  }

  /** These serve in other slots now. */
  learn(peers: Message<'peers'>['peers']): void {
    this.#wanted = peers;
    this.#againMs = FIRST_AGAIN_MS;
    const hub = broadcastHub();
    hub.keepRecent(peers.some(({ generation }) => generation < this.#number));
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
    if (opening === undefined) {
      this.#lost(generation);
      return;
    }
    const channel = opening.toChannel();
    channel.unref();
    this.#open.set(generation, channel);
    channel.closed.then(() => this.#lost(generation));
    broadcastHub().join(channel, true);
  }

  // It may only be busy. Where it has ended, another one serves there soon, and then there is news.
  #lost(generation: number): void {
    this.#open.delete(generation);
    if (!this.#wanted.some((one) => one.generation === generation)) return;
    this.#again ??= setTimeout(() => {
      this.#again = undefined;
      this.#join();
    }, this.#againMs).unref();
    this.#againMs = Math.min(2 * this.#againMs, LONGEST_AGAIN_MS);
  }
}
