import type { Channel } from '../../channel/channel.js';
import type { HandoverState } from '../../lifecycle/handover-states.js';
import type { Listener } from '../../listeners/listener.js';
import type { ListenerRegistry } from '../../listeners/registry.js';
import { ThreadListener } from '../../listeners/thread-listener.js';
import type { Message } from '../../protocol/messages.js';

/** What the two ends of a handover are to each other here. */
export interface LateOpeningsParts {
  readonly listeners: ListenerRegistry;
  /** To the successor. */
  readonly channel: Channel;
  /** Whether the successor takes what is opened now. */
  readonly takes: boolean;
  /** The names of what the successor was offered at the start of the handover. */
  readonly offered: readonly string[];
  /** The successor is to have this one, and the supervisor a copy. */
  readonly given: (listener: Listener) => void;
}

/**
 * What the service of a predecessor opens once its successor has been told what there is. A port that was opened for a
 * client, such as for one transfer, stays here until the service closes it. Any other is part of the service, which had only not
 * come to it yet: the successor is given it, and its clients wait for the successor's service to listen there.
 */
export class LateOpenings {
  readonly #parts: LateOpeningsParts;
  readonly #offered: ReadonlySet<string>;
  readonly #forClients = new WeakSet<Listener>();
  readonly #told = new WeakSet<Listener>();
  readonly #given = new Set<string>();
  /** Opened in this turn: one that its service closes at once was only a try whether the port is free. */
  readonly #pending = new Set<Listener>();
  #isOver = false;

  constructor(parts: LateOpeningsParts) {
    this.#parts = parts;
    this.#offered = new Set(parts.offered);
  }

  /** The names of those that the successor has been given. */
  get given(): ReadonlySet<string> {
    return this.#given;
  }

  /** The service has opened one. @param isForClient whether for one of those that it has already. */
  openedWhile(state: HandoverState, listener: Listener, isForClient: boolean): void {
    switch (state) {
      case 'inheriting':
      case 'ready':
        this.#opened(listener, isForClient);
        break;
      case 'committing':
      case 'probation':
      case 'verifying':
      case 'draining':
        this.#openedAfterCommit(listener, isForClient, state === 'draining');
        break;
      default:
    }
  }

  // Before the commit.
  #opened(listener: Listener, isForClient: boolean): void {
    // Worker threads cannot keep some of theirs.
    if (isForClient && !(listener instanceof ThreadListener)) this.#forClients.add(listener);
    this.#soon(listener);
  }

  // When this side accepts no more; for good, where it cannot come to accept again.
  #openedAfterCommit(listener: Listener, isForClient: boolean, isForGood: boolean): void {
    if (isForClient || !this.#takes) {
      if (!(listener instanceof ThreadListener)) listener.stay();
      return;
    }
    listener.pause();
    this.#given.add(listener.identity.name);
    this.#soon(listener, () => {
      if (isForGood) this.#parts.listeners.release(listener, false);
    });
  }

  /** The names of listeners of this side that the successor has not claimed, and that do not wait for it. */
  notClaimed(claims: Message<'ready'>['claims']): string[] {
    const claimed = new Set(claims.flatMap(({ name, late }) => (late === true ? [] : [name])));
    return this.#parts.listeners
      .sockets()
      .filter((listener) => !this.#isSettled(listener))
      .flatMap(({ identity }) => (identity.isMomentary || claimed.has(identity.name) ? [] : [identity.name]));
  }

  /**
   * This side is about to accept no more.
   * @param claimed the names of what the successor has claimed.
   * @returns what stays here, and goes on accepting.
   */
  beforeCommit(claimed: ReadonlySet<string>): Listener[] {
    this.flush();
    return this.#parts.listeners.lasting().filter((listener) => {
      const { name } = listener.identity;
      const stays = this.#forClients.has(listener) && !this.#offered.has(name) && !claimed.has(name);
      if (stays) listener.stay();
      return stays;
    });
  }

  /** Tells now what was opened in this turn. */
  flush(): void {
    for (const listener of this.#pending) this.#tell(listener);
  }

  /** The handover has failed: what is opened is this side's own affair again. */
  stop(): void {
    this.#isOver = true;
    this.#pending.clear();
  }

  // Whether one stays here, or is the successor's, although that one has not claimed it.
  #isSettled(listener: Listener): boolean {
    return this.#given.has(listener.identity.name) || this.#forClients.has(listener);
  }

  get #takes(): boolean {
    return this.#parts.takes && !this.#parts.channel.isClosed;
  }

  #soon(listener: Listener, then: () => void = () => {}): void {
    this.#pending.add(listener);
    setImmediate(() => {
      if (this.#isOver) return;
      if (this.#pending.has(listener)) this.#tell(listener);
      then();
    });
  }

  #tell(listener: Listener): void {
    this.#pending.delete(listener);
    const { name, isMomentary } = listener.identity;
    const isGone = listener.fd < 0 || listener.state === 'closed' || isMomentary === true;
    if (isGone) this.#given.delete(name);
    if (isGone || !this.#takes || this.#offered.has(name) || this.#told.has(listener)) return;
    this.#told.add(listener);
    const waits = !this.#forClients.has(listener);
    if (waits) {
      this.#given.add(name);
      this.#parts.given(listener);
    }
    this.#parts.channel.send({ type: 'late-listener', listener: listener.item(), waits }, [listener.fd]);
  }
}
