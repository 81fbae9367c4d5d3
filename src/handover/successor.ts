import type { Channel } from '../channel/channel.js';
import { Inflow } from '../connections/inflow.js';
import { MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import { type Estate, movableClaims } from './estate.js';

/** What a successor tells of its handover. */
export interface SuccessorEvents {
  /** This generation accepts from now on. */
  committed(): void;
  /** The handover was called off before commit; this generation will be ended. */
  aborted(error: MoultError): void;
  /** The predecessor serves again: what this generation has goes back through this channel. */
  handBack(channel: Channel, message: Message<'hand-back'>): void;
  /** The predecessor is gone, or has nothing more to give. */
  ended(): void;
}

/** The taking end of a handover: its listeners stay gated until commit, then connections come. */
export class Successor {
  #estate: Estate;
  #events: SuccessorEvents;
  #channels = new Set<Channel>();
  #feeds = new Set<Channel>();
  #isReady = false;
  #isCommitted = false;

  constructor(estate: Estate, events: SuccessorEvents) {
    this.#estate = estate;
    this.#events = events;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get isCommitted(): boolean {
    return this.#isCommitted;
  }

  /** Whether connections may still come. */
  get isBeingFed(): boolean {
    return this.#feeds.size > 0;
  }

  /** Takes over through this channel, to the predecessor or, where there is none, the supervisor. */
  attach(channel: Channel, isPredecessor: boolean): void {
    this.#channels.add(channel);
    channel.on('commit', (commit) => this.#commit(channel, commit));
    channel.closed.then(() => this.#channels.delete(channel));
    if (!isPredecessor) return;
    // Without its own work the process would end here: a gated listener does not keep it alive.
    channel.ref();
    channel.on('abort', ({ error }) => {
      if (!this.#isCommitted) this.#events.aborted(MoultError.from(error));
    });
    channel.on('confirm', () => channel.unref());
    channel.on('hand-back', (message) => {
      if (!this.#isCommitted) return;
      this.#feeds.delete(channel);
      this.#events.handBack(channel, message);
    });
    this.#feeds.add(channel);
    new Inflow(channel, this.#estate.connections, (name) => this.#estate.listeners.named(name)?.server);
    channel.closed.then(() => {
      this.#feeds.delete(channel);
      this.#events.ended();
    });
  }

  /** Says that the service is ready, once. @param said whether the service itself said so. */
  ready(said: boolean): void {
    if (this.#isReady) return;
    this.#isReady = true;
    const claims = movableClaims(this.#estate);
    for (const channel of this.#channels) channel.send({ type: 'ready', claims, said });
  }

  /** Where nothing was inherited there is nothing to wait for: the service has served since it listened. */
  serveAtOnce(): void {
    if (this.#isCommitted) return;
    this.#isCommitted = true;
    this.#events.committed();
  }

  /** Lets the process end although the predecessor still feeds it. */
  unref(): void {
    for (const channel of this.#channels) channel.unref();
  }

  #commit(channel: Channel, { epoch }: Message<'commit'>): void {
    if (this.#isCommitted) {
      this.#estate.epoch = Math.max(this.#estate.epoch, epoch);
      channel.send({ type: 'committed' });
      return;
    }
    this.#isCommitted = true;
    this.#estate.epoch = epoch;
    this.#estate.listeners.openGates();
    channel.send({ type: 'committed' });
    this.#events.committed();
  }
}
