import type { AddressInfo } from 'node:net';
import type { Channel } from '../channel/channel.js';
import type { DrainTimes } from '../connections/drain.js';
import { Deadline } from '../os/deadline.js';
import { MAX_CUT } from '../protocol/limits.js';
import type { DrainReport, ListenerItem, Measures, Message } from '../protocol/messages.js';
import { ThreadLink } from './thread-link.js';

/** How long a commit waits for threads to accept no more; one that is late learns it before it accepts again. */
const PAUSE_TIMEOUT_MS = 250;
/** How long the answer to a restart waits for what threads tell of their connections. */
const SETTLE_TIMEOUT_MS = 2500;
/** How long the end of a process waits for what threads tell of what they had to cut. */
const END_TIMEOUT_MS = 2000;
/** How long the state of the process waits for the state of its threads. */
const COUNT_TIMEOUT_MS = 200;
/** Fewer threads than the predecessor had are taken for all when no more came for so long. */
const FEWER_THREADS_MS = 2000;

const SILENT = 'it did not answer: what happened to its connections is unknown';

/** What threads have told of connections that left. */
export type Settled = Omit<Message<'settled'>, 'type'>;
/** The same of all threads, and how many have told nothing yet. */
export type AllSettled = Settled & { readonly silent: number };
/** What threads serve now. */
export type ThreadCounts = Omit<Message<'counts'>, 'type' | 'id' | 'measures'> & {
  /** What each of them has measured. */
  readonly measures: readonly Measures[];
};

/** What is told of threads. */
export interface ThreadsEvents {
  /** A thread listens on this. */
  listens(name: string, address: AddressInfo | string): void;
  /** A thread takes connections of others. */
  ready(): void;
  /** The service has closed a listener in the last thread that had it. */
  closed(name: string): void;
}

/**
 * The worker threads of this process that listen, as its main thread leads them: all do each step of a handover
 * together, and one that does not answer keeps none of the others.
 */
export class Threads {
  /** Called when one may have nothing left. */
  onDrained: () => void = () => {};
  readonly #events: ThreadsEvents;
  readonly #links = new Set<ThreadLink>();
  /** Threads that have ended since they left, and had told of it. */
  #ended: ThreadLink[] = [];
  #waits = new Set<() => void>();
  #lastQuestion = 0;
  #lastListeningMs = 0;
  /** Not 0 while no thread may accept: read by a thread before it gives a connection to the service. */
  #shut: Int32Array | undefined;

  constructor(events: ThreadsEvents) {
    this.#events = events;
  }

  get size(): number {
    return this.#links.size;
  }

  /**
   * Leads one more.
   * @param pid of its process.
   * @param shut the memory in which all threads see that they may not accept.
   * @returns the names of what it listens on, as they come and go.
   */
  add(id: number, pid: number, channel: Channel, shut: Int32Array, isShut: boolean): ReadonlySet<string> {
    this.#shut = shut;
    Atomics.store(shut, 0, isShut ? 1 : 0);
    const link = new ThreadLink(id, pid, channel, {
      listens: (_, name, address) => {
        this.#lastListeningMs = performance.now();
        this.#events.listens(name, address);
        this.#changed();
      },
      closed: (_, name) => {
        if (this.countOf(name) === 0) this.#events.closed(name);
      },
      ready: () => this.#events.ready(),
      changed: () => this.#changed(),
      lost: (lost) => {
        this.#links.delete(lost);
        if (lost.report !== undefined || lost.settled !== undefined) this.#ended.push(lost);
        this.#changed();
      },
    });
    this.#links.add(link);
    return link.names;
  }

  /** Where other processes' threads bring their connections. */
  doors(): string[] {
    return [...this.#links].map(({ door }) => door).filter((door) => door !== undefined);
  }

  /** Whether another process than this one listens there. */
  isOfOther(name: string, pid: number): boolean {
    return [...this.#links].some((link) => link.pid !== pid && link.names.has(name));
  }

  /** Whether a process has listened on anything so far. */
  hasListener(pid: number): boolean {
    return [...this.#links].some((link) => link.pid === pid && link.names.size > 0);
  }

  /** The processes of which a thread has a listener. */
  processesOn(name: string): number[] {
    return [...new Set([...this.#links].flatMap(({ names, pid }) => (names.has(name) ? [pid] : [])))];
  }

  /** How many threads have a listener. */
  countOf(name: string): number {
    return [...this.#links].filter(({ names }) => names.has(name)).length;
  }

  /** The listeners as a successor is told of them: with the number of threads on each. */
  counted(items: readonly ListenerItem[]): ListenerItem[] {
    if (this.size === 0) return [...items];
    return items.map((item) => {
      const threads = this.countOf(item.name);
      return threads === 0 ? item : { ...item, threads };
    });
  }

  /**
   * Whether as many threads as the predecessor had, and one at least, listen on each of these, and all that listen take
   * connections of others.
   * @returns milliseconds until it has to be asked again; 0: yes.
   */
  missingMs(inherited: readonly ListenerItem[]): number {
    const links = [...this.#links];
    const isThere = ({ name, threads = 0 }: ListenerItem) =>
      links.filter(({ names }) => names.has(name)).length >= Math.max(1, threads);
    const takesConnections = ({ door, names }: ThreadLink) => door !== undefined || names.size === 0;
    if (inherited.every(isThere) && links.every(takesConnections)) return 0;
    if (this.#lastListeningMs === 0) return FEWER_THREADS_MS;
    return Math.max(0, Math.ceil(this.#lastListeningMs + FEWER_THREADS_MS - performance.now()));
  }

  /** Has all accept no more. @param then called when all have answered, or are late. */
  pause(then: () => void): void {
    this.halt();
    this.#when(() => [...this.#links].every(({ unanswered }) => unanswered === 0), PAUSE_TIMEOUT_MS, then);
  }

  /** The same, without waiting; connections that were leaving stay. */
  halt(): void {
    this.#setShut(true);
    for (const link of this.#links) link.pause();
  }

  /** Has all accept, for the first time or again. */
  open(epoch: number): void {
    this.#setShut(false);
    this.#ended = [];
    for (const link of this.#links) link.open(epoch);
  }

  /** Has all give their connections to these threads of another process, and end what cannot go. */
  leave(doors: readonly string[], { timeoutMs, spreadMs }: DrainTimes): void {
    for (const link of this.#links) {
      link.leaves();
      const spread = spreadMs === 0 ? {} : { drainSpreadMs: spreadMs };
      link.channel.send({ type: 'leave', doors: [...doors], drainTimeoutMs: timeoutMs, ...spread });
    }
  }

  /** What left, once all that could leave at once has, or a thread is late. */
  settled(): Promise<AllSettled> {
    return new Promise((resolve) => {
      this.#when(
        () => [...this.#links].every((link) => !link.isDraining || link.settled !== undefined),
        SETTLE_TIMEOUT_MS,
        () => {
          const all = [...this.#ended, ...this.#links].flatMap(({ moved }) => moved ?? []);
          resolve({
            silent: [...this.#links].filter((link) => link.isDraining && link.settled === undefined).length,
            moved: sum(all, ({ moved }) => moved),
            notRestored: sum(all, ({ notRestored }) => notRestored),
            pausesMs: all.flatMap(({ pausesMs }) => pausesMs),
          });
        },
      );
    });
  }

  /** None will accept again: each ends when it has nothing left. */
  confirm(): void {
    for (const { channel } of this.#links) channel.send({ type: 'confirm' });
  }

  /** Ends all without a successor. @param doors threads of other slots, to which connections go. */
  retire(timeoutMs: number, keepOpen: boolean, doors: readonly string[]): void {
    this.#setShut(true);
    const heirs = doors.length === 0 ? {} : { heirs: [...doors] };
    for (const link of this.#links) {
      link.leaves();
      link.channel.send({ type: 'retire', timeoutMs, keepOpen, ...heirs });
    }
  }

  /** Whether none has anything left. */
  get isDrained(): boolean {
    return [...this.#links].every((link) => !link.isDraining);
  }

  /** Adds what threads tell of their end. @returns it at once where there are none; else when all have told, or are late. */
  endWith(report: DrainReport, then: (report: DrainReport) => void): void {
    const isOver = () => this.isDrained;
    this.#when(isOver, END_TIMEOUT_MS, () => {
      const ended = this.#ended.flatMap((link) => link.report ?? []);
      const reports = [report, ...ended, ...[...this.#links].map(reportOf)];
      then({
        moved: sum(reports, ({ moved }) => moved),
        drained: sum(reports, ({ drained }) => drained),
        cut: reports.flatMap(({ cut }) => cut).slice(0, MAX_CUT),
      });
    });
  }

  /** The process is asked to end: nothing of moult keeps a thread alive any more. */
  end(): void {
    for (const { channel } of this.#links) channel.send({ type: 'end' });
  }

  /** What all threads that answer serve. */
  async counts(measure = false): Promise<ThreadCounts> {
    const id = ++this.#lastQuestion;
    for (const { channel } of this.#links) channel.send({ type: 'ask-state', id, measure });
    const isAnswered = () => [...this.#links].every(({ counts }) => counts?.id === id);
    if (this.size > 0) await new Promise<void>((then) => this.#when(isAnswered, COUNT_TIMEOUT_MS, then));
    // Of one that is late what it said last.
    const all = [...this.#links].flatMap(({ counts }) => counts ?? []);
    return {
      connections: sum(all, ({ connections }) => connections),
      inFlight: sum(all, ({ inFlight }) => inFlight),
      responses: sum(all, ({ responses }) => responses),
      errors: sum(all, ({ errors }) => errors),
      measures: all.flatMap(({ measures }) => measures ?? []),
    };
  }

  /** Has a thread serve a connection that no client made. @returns whether one has this listener; the descriptor stays the caller's. */
  check(name: string | null, fd: number): boolean {
    const link = [...this.#links].find(({ names }) => (name === null ? names.size > 0 : names.has(name)));
    link?.channel.send({ type: 'check-connection', listener: name }, [fd]);
    return link !== undefined;
  }

  #setShut(isShut: boolean): void {
    if (this.#shut !== undefined) Atomics.store(this.#shut, 0, isShut ? 1 : 0);
  }

  #changed(): void {
    for (const look of [...this.#waits]) look();
    this.onDrained();
  }

  // At once, within this call, where there is nothing to wait for.
  #when(isSo: () => boolean, withinMs: number, then: () => void): void {
    if (isSo()) {
      then();
      return;
    }
    const over = () => {
      if (!this.#waits.delete(look)) return;
      limit.clear();
      then();
    };
    const look = () => {
      if (isSo()) over();
    };
    this.#waits.add(look);
    const limit = new Deadline(withinMs, over);
  }
}

function reportOf(link: ThreadLink): DrainReport {
  if (link.report !== undefined) return link.report;
  if (!link.isDraining) return { moved: 0, drained: 0, cut: [] };
  const ageMs = performance.now() - (link.leftAtMs ?? 0);
  return {
    moved: link.settled?.moved ?? 0,
    drained: 0,
    cut: [{ peer: link.title, ageMs, reason: SILENT }],
  };
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}
