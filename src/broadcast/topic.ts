import { warnIncomplete } from './incomplete-warning.js';
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

/** The names under which this process deals with messages. Several may have the same. */
export class Topics {
  readonly #topics = new Map<string, Set<Topic>>();
  readonly #onUse: (() => void)[] = [];

  get areNone(): boolean {
    return this.#topics.size === 0;
  }

  has(name: string): boolean {
    return this.#topics.has(name);
  }

  named(name: string): Iterable<Topic> {
    return this.#topics.get(name) ?? [];
  }

  add(topic: Topic): void {
    const same = this.#topics.get(topic.name) ?? new Set();
    this.#topics.set(topic.name, same.add(topic));
    for (const told of this.#onUse.splice(0)) told();
  }

  remove(topic: Topic): void {
    const same = this.#topics.get(topic.name);
    if (same?.delete(topic) && same.size === 0) this.#topics.delete(topic.name);
  }

  /** Calls back as soon as there is one. */
  whenUsed(then: () => void): void {
    if (this.#topics.size > 0) then();
    else this.#onUse.push(then);
  }
}

/** Delivers a message: what a service's own code throws must not keep it from anybody else. */
export function guarded(deliver: () => void): void {
  try {
    deliver();
  } catch (cause) {
    warnIncomplete(
      `a broadcast message could not be handled: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}
