import type { BroadcastMessage } from './message.js';

/** What becomes of messages of one name in this process. */
export interface Topic {
  readonly name: string;
  /**
   * Deals with a message, for all clients that are here.
   * @param value the message itself where it was sent here; elsewhere it is read from the bytes.
   * @param isDue whether a client, by its socket, is to be sent it now.
   */
  deliver(
    message: BroadcastMessage,
    isDue: (client: object) => boolean,
    value?: { readonly sent: unknown },
  ): void;
  /** Sends it to one client that has come from another generation, where it was not sent it. */
  deliverTo?(client: object, message: BroadcastMessage): void;
}

/** How a message is published. */
export interface PublishOptions {
  /** What is dealt with in this process, where that is another object. */
  readonly sent?: unknown;
  /** Who alone deals with it in this process; then it is made bytes only where somebody else is to have it. */
  readonly by?: Topic;
}
