import type { AddressInfo } from 'node:net';
import type { Channel } from '../channel/channel.js';
import type { DrainReport, Message } from '../protocol/messages.js';

/** What the main thread does when it hears of a worker thread. */
export interface ThreadEvents {
  /** It listens on one more, or has closed one. */
  listens(link: ThreadLink, name: string, address: AddressInfo | string): void;
  closed(link: ThreadLink, name: string): void;
  /** It takes connections of others. */
  ready(): void;
  /** Something that was waited for may have come. */
  changed(): void;
  /** It has ended. */
  lost(link: ThreadLink): void;
}

/** A worker thread that listens, or another process of the service, as the main thread of its process knows it. */
export class ThreadLink {
  readonly id: number;
  /** Its process: this one, or another one of the service. */
  readonly pid: number;
  readonly channel: Channel;
  /** The listeners that it has. */
  readonly names = new Set<string>();
  /** Where it takes connections of other processes' threads. */
  door: string | undefined;
  /** Pauses that it was asked for and has not answered. */
  unanswered = 0;
  /** When it was told to leave, in milliseconds of `performance.now()`. */
  leftAtMs: number | undefined;
  settled: Message<'settled'> | undefined;
  report: DrainReport | undefined;
  counts: Message<'counts'> | undefined;

  constructor(id: number, pid: number, channel: Channel, events: ThreadEvents) {
    this.id = id;
    this.pid = pid;
    this.channel = channel;
    channel.on('door', ({ path }) => {
      this.door = path;
      events.ready();
    });
    channel.on('listening', ({ name, address }) => {
      this.names.add(name);
      events.listens(this, name, addressOf(address));
    });
    channel.on('release', ({ name }) => {
      if (this.names.delete(name)) events.closed(this, name);
    });
    channel.on('paused', () => {
      this.unanswered -= 1;
      events.changed();
    });
    channel.on('settled', (settled) => {
      this.settled = settled;
      events.changed();
    });
    channel.on('drained', ({ report }) => {
      this.report = report;
      events.changed();
    });
    channel.on('counts', (counts) => {
      this.counts = counts;
      events.changed();
    });
    channel.closed.then(() => events.lost(this));
  }

  /** What it is, for people. */
  get title(): string {
    return this.pid === process.pid ? `worker thread ${this.id}` : `process ${this.pid}`;
  }

  /** Whether it has been told to leave, and has something left, as far as is known. */
  get isDraining(): boolean {
    return this.leftAtMs !== undefined && this.report === undefined;
  }

  /** What it has told of connections that left; one that has nothing left may not have come to tell of their pauses. */
  get moved(): Omit<Message<'settled'>, 'type'> | undefined {
    const { settled, report } = this;
    if (settled !== undefined || report === undefined) return settled;
    return { moved: report.moved, notRestored: 0, pausesMs: [] };
  }

  pause(): void {
    this.unanswered += 1;
    this.channel.send({ type: 'pause' });
  }

  /** Has it accept, or accept again. */
  open(epoch: number): void {
    this.leftAtMs = undefined;
    this.settled = undefined;
    this.report = undefined;
    this.channel.send({ type: 'commit', epoch });
  }

  /** It has been told to leave. */
  leaves(): void {
    this.leftAtMs = performance.now();
    this.settled = undefined;
    this.report = undefined;
  }
}

function addressOf(said: Record<string, unknown>): AddressInfo | string {
  return typeof said.path === 'string' ? said.path : (said as unknown as AddressInfo);
}
