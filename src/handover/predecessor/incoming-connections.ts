import type { Channel } from '../../channel/channel.js';
import { Inflow } from '../../connections/adopting/inflow.js';
import type { GenerationContext } from '../generation-context.js';

/** The channels by which connections come here: from a successor that was undone, or from other slots. */
export class IncomingConnections {
  readonly #context: GenerationContext;
  readonly #channels = new Set<Channel>();
  readonly #ended: () => void;

  /** @param ended called when no more come by one of them. */
  constructor(context: GenerationContext, ended: () => void) {
    this.#context = context;
    this.#ended = ended;
  }

  /** Whether any may still come. */
  get isOpen(): boolean {
    return this.#channels.size > 0;
  }

  /**
   * Takes the connections that come through this channel.
   * @param whenReady calls back when this side can serve them.
   */
  takeFrom(channel: Channel, whenReady?: (then: () => void) => void): void {
    this.#channels.add(channel);
    const { connections, listeners, stickyRouter } = this.#context;
    const serverOf = (name: string) => listeners.serverOf(name);
    const inflow = new Inflow(channel, connections, serverOf, stickyRouter, whenReady);
    channel.unref();
    inflow.over.then(() => {
      this.#channels.delete(channel);
      this.#ended();
    });
  }
}
