import type { Channel } from '../../channel/channel.js';
import { Inflow } from '../../connections/adopting/inflow.js';
import type { GenerationContext } from '../generation-context.js';

/** The channels by which connections come here: from a successor that was undone, or from other slots. */
export class IncomingConnections {
  readonly #context: GenerationContext;
  /** With the socket at which its other side lets fallbacks in, where it has told what changes there. */
  readonly #channels = new Map<Channel, string | undefined>();
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

  /** Where those let fallbacks in that tell this generation what changes there. */
  get earlierDoors(): string[] {
    return [...this.#channels.values()].flatMap((door) => door ?? []);
  }

  /**
   * Takes the connections that come through this channel.
   * @param whenReady calls back when this side can serve them.
   * @param door where the other side lets fallbacks in.
   */
  takeFrom(channel: Channel, whenReady?: (then: () => void) => void, door?: string): void {
    this.#channels.set(channel, door);
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
