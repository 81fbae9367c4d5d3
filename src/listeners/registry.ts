/*
 * Over 300 lines: every way in which a listener comes to this generation and leaves it changes the same few lists.
 */
import type { Server } from 'node:net';
import type { Decide } from '../node/path-decision.js';
import { wallClockMs } from '../os/clock.js';
import { duplicate, duplicateOrClose } from '../os/descriptors/descriptor.js';
import { isByMoult } from '../os/unix-sockets/socket-file.js';
import type { SocketLinks } from '../os/unix-sockets/socket-links.js';
import { type ListenerItem, MAX_LISTENERS } from '../protocol/messages.js';
import { DatagramListener } from './datagram-listener.js';
import { FailedListens } from './failed-listen.js';
import { File, fileName } from './file.js';
import { type Inherited, InheritedSockets } from './inherited-sockets.js';
import type { Listener, ListenerState, OnClosedByService } from './listener.js';
import { freeName } from './name.js';
import { StreamListener } from './stream-listener.js';
import { ThreadListener } from './thread-listener.js';

/** For so long at most a service looks whether a port is free by listening on it. */
const STAND_IN_MS = 1000;

/** What the registry tells of. */
export interface RegistryEvents {
  /** The service bound a new socket; it accepts, or will when the gates open. */
  bound(listener: Listener): void;
  /** The service claimed an inherited one. */
  claimed(listener: Listener): void;
  /** The service closed one that was its own to close. */
  closed(listener: Listener): void;
  /** The service closed one that had not accepted yet. */
  closedBehindGate?(listener: Listener): void;
  /** The service closed one that only stood in for another form of what is held. */
  closedStandIn?(): void;
  /** The service goes on listening in another form on an address that is held for it. */
  otherForm?(asked: string, held: string, bindAnew: () => void): void;
}

/** The listeners of this generation: those that it inherited and has not claimed, and those that are its own. */
export class ListenerRegistry {
  /** What came from another process, and has not been claimed. */
  readonly inherited = new InheritedSockets((name) => this.#own.has(name));
  #own = new Map<string, Listener>();
  #givenUp = new Set<string>();
  /** Released here; connections of theirs may still come from a generation before this one, and are passed on. */
  #released = new Map<string, StreamListener>();
  #byServer = new WeakMap<Server, StreamListener>();
  /** Closed by the service when they were paused: another generation may accept on them, or come to give them back. */
  #closedWhilePaused = new Map<string, Listener>();
  /** Tells where none of the calls of the service came to a listener. */
  readonly failedListens = new FailedListens(() => this.#own.size + this.#released.size > 0);
  /** Whether worker threads of this process accept on a listener too. */
  keptByThreads: (listener: StreamListener) => boolean = () => false;
  /** What keeps the paths of Unix listeners; undefined where nothing does. */
  readonly links: SocketLinks | undefined;
  /** Whether another process of the service listens there: then it is not free, as it would be without moult. */
  isOfMember: (name: string) => boolean = () => false;
  /** Whether what is opened now on whatever port is free is opened for a moment: the service has started. */
  hasStarted: () => boolean = () => false;
  /** Ports that the service was given when it asked for any, with the names of those listeners. */
  readonly #givenPorts = new Map<number, string>();
  #gatesShut: boolean;
  /** Closed by the service when another generation could still resume. */
  #closedInProbation = new Map<string, Listener>();
  #isOnProbation = false;
  /** When the service closed a listener that was open, in milliseconds since 1970, by its name. */
  readonly closedAt = new Map<string, number>();
  /** What the service asked for that is done when its listeners accept. */
  #putOff: (() => void)[] = [];
  #events: RegistryEvents;
  #isShared: boolean;

  /**
   * @param gatesShut whether listeners wait for {@link openGates}.
   * @param isShared whether other slots of the service accept on them too: then none is closed for every process here.
   * @param links keeps the paths of Unix listeners.
   */
  constructor(gatesShut: boolean, events: RegistryEvents, isShared = false, links?: SocketLinks) {
    this.links = links;
    this.#gatesShut = gatesShut;
    this.#events = events;
    this.#isShared = isShared;
  }

  /** The listeners that are open, gated or paused. */
  own(): Listener[] {
    return [...this.#own.values()];
  }

  /** Those by which clients reach the service. */
  sockets(): Listener[] {
    return this.own().filter((listener) => !(listener instanceof File));
  }

  /** Those that change hands: all but what was opened for a moment. */
  lasting(): Listener[] {
    return this.own().filter(({ identity }) => identity.isMomentary !== true);
  }

  /** Whether one that was opened for a moment is still open. */
  get hasMomentary(): boolean {
    return this.own().some(({ identity }) => identity.isMomentary === true);
  }

  /** A listener that asked for any port has been given this one. */
  gavePort(port: number, name: string): void {
    this.#givenPorts.set(port, name);
  }

  /** The name of the listener that asked for any port and was given this one: who asks for it now has been looking for a free one. */
  nameOfGivenPort(port: number): string | undefined {
    return this.#givenPorts.get(port);
  }

  /** Whether a listener on any free port is opened for a moment: others were opened when the service started. */
  opensForMoment(): boolean {
    return this.hasStarted() && this.lasting().some((listener) => !(listener instanceof File));
  }

  /**
   * A descriptor of the service's own: the predecessor's of this name, or one that is opened now. The successor will get it.
   * @returns the service's own descriptor, close-on-exec, which it may close.
   */
  file(name: string, open: () => number): number {
    const full = fileName(name);
    const known = this.#own.get(full);
    if (known !== undefined) return duplicate(known.fd);
    const inherited = this.inherited.named(full, ['file']);
    const mine = inherited?.fd ?? open();
    const kept = inherited === undefined ? duplicateOrClose(mine) : inherited.fd;
    const file = new File(full, kept, this.initialState, inherited !== undefined, this.closedByService);
    this.add(file);
    this.tell(file);
    return inherited === undefined ? mine : duplicate(kept);
  }

  /** Those that accept connections. */
  streams(): StreamListener[] {
    return this.own().filter((listener) => listener instanceof StreamListener);
  }

  /** Those that receive datagrams. */
  datagrams(): DatagramListener[] {
    return this.own().filter((listener) => listener instanceof DatagramListener);
  }

  /** The listener to which a server belongs. */
  of(server: Server): StreamListener | undefined {
    return this.#byServer.get(server);
  }

  /** The listener of this name. */
  named(name: string): Listener | undefined {
    return this.#own.get(name);
  }

  /** The server of the listener of this name, where it has one. */
  serverOf(name: string): Server | undefined {
    const listener = this.named(name) ?? this.#released.get(name);
    return listener instanceof StreamListener ? listener.server : undefined;
  }

  /** The state in which a new listener begins. */
  get initialState(): 'gated' | 'open' {
    return this.#gatesShut ? 'gated' : 'open';
  }

  /** The name, or the next free one like it where a listener of this generation has it already. */
  freeName(name: string): string {
    return freeName(name, (candidate) => this.#own.has(candidate));
  }

  /** What worker threads of this process have under a name, for a server of the main thread to claim. */
  takeFromThreads(name: string): Inherited | undefined {
    const listener = this.#own.get(name);
    if (!(listener instanceof ThreadListener) || listener.fd < 0 || this.isOfMember(name)) return undefined;
    const item = listener.item();
    const inherited = { item, fd: listener.surrenderDescriptor() };
    this.#own.delete(name);
    this.inherited.put(item, inherited.fd);
    return inherited;
  }

  /** Whether the service had a listener of this name, and closed it. */
  hasGivenUp(name: string): boolean {
    return this.#givenUp.has(name);
  }

  /**
   * A server listens in another form on what is held under a name, and not in truth.
   * @param bindAnew has it listen in truth, once that is closed.
   * @returns to be called when it is closed.
   */
  standsIn(asked: string, held: string, bindAnew: () => void): () => void {
    const timer = setTimeout(() => this.#events.otherForm?.(asked, held, bindAnew), STAND_IN_MS).unref();
    return () => {
      clearTimeout(timer);
      this.#events.closedStandIn?.();
    };
  }

  /** Registers a listener: one that was bound here, or that was inherited and is claimed by it. */
  add(listener: Listener): void {
    const { name } = listener.identity;
    this.closedAt.delete(name);
    if (listener.isInherited) this.inherited.take(name);
    this.#own.set(name, listener);
    if (listener instanceof StreamListener) this.#byServer.set(listener.server, listener);
  }

  /** Another server of the service shares a listener: Node gives it the connections from then on. */
  share(listener: StreamListener, server: Server): void {
    listener.belongTo(server);
    this.#byServer.set(server, listener);
    this.#events.claimed(listener);
  }

  /** Tells of a listener that was added, once its owner listens. */
  tell(listener: Listener): void {
    if (listener.isInherited) this.#events.claimed(listener);
    else this.#events.bound(listener);
  }

  /** Lets every claimed listener accept, in the order of the claims. */
  openGates(): void {
    this.#gatesShut = false;
    for (const listener of this.#own.values()) listener.open();
    for (const call of this.#putOff.splice(0)) attempt(call);
  }

  /** Has something done when the listeners accept, now where they do. */
  whenOpen(call: () => void): void {
    if (this.#gatesShut) this.#putOff.push(call);
    else call();
  }

  /** Another generation can still resume, until {@link proved}: what it needs is not this one's to destroy. */
  onProbation(): void {
    this.#isOnProbation = true;
  }

  /** No other generation can resume any more: what the service has closed since it accepts is closed for good. */
  proved(): void {
    this.#isOnProbation = false;
    for (const [name, listener] of this.#closedInProbation) {
      const inherited = this.#own.has(name) ? undefined : this.inherited.take(name);
      if (inherited === undefined) continue;
      listener.releaseAs(inherited.fd);
      this.#closedForGood(listener);
    }
    this.#closedInProbation.clear();
  }

  /** Accepts no more on any of those that change hands. */
  pause(): void {
    for (const listener of this.lasting()) listener.pause();
  }

  /** Closes those that were opened for a moment, also where somebody may be about to come. */
  closeMomentary(): void {
    for (const listener of this.own()) {
      if (listener.identity.isMomentary !== true) continue;
      listener.pause();
      this.release(listener, true);
    }
  }

  /** Accepts again on all of them; those that the service has closed meanwhile are closed for good. */
  resume(): void {
    this.successorHas(new Set());
    for (const listener of this.#own.values()) {
      listener.stayNoMore();
      listener.resume();
    }
  }

  /**
   * What becomes of a call of the service's that would remove the path of a listener, or change who may connect there:
   * until this generation accepts its listeners are another one's, and once it has handed over they are again.
   */
  readonly decide: Decide = (kind, file, call) => {
    if (isByMoult()) return 'do';
    const listener = this.own().find(({ identity }) => identity.file === file);
    if (listener?.state === 'open' && !this.#isOnProbation) return 'do';
    if (kind === 'remove') return 'skip';
    if (listener?.state === 'open') return 'do';
    if (this.#gatesShut) this.whenOpen(call);
    return 'skip';
  };

  /** Of those that the service closed when they were paused, the ones of other names are nobody's: they are closed for good. */
  successorHas(names: ReadonlySet<string>): void {
    for (const listener of this.#closedWhilePaused.values()) {
      const { name } = listener.identity;
      if (names.has(name) || this.#own.has(name)) continue;
      if (!this.#isShared) listener.removePath();
      this.#closedForGood(listener);
    }
    this.#closedWhilePaused.clear();
  }

  /**
   * Closes the copies of what was inherited and never claimed; what others keep open may be claimed by a successor.
   * @param held the names of those for which the service may still come.
   * @returns which of them are held here.
   */
  dropUnclaimed(held: ReadonlySet<string> = new Set()): string[] {
    return this.inherited.dropUnclaimed(held, (item) => this.#isKept(item));
  }

  /** Gives one up. @param everywhere closes the port for every process, unless other slots accept on it. */
  release(listener: Listener, everywhere: boolean): void {
    this.#own.delete(listener.identity.name);
    if (listener instanceof StreamListener) this.#released.set(listener.identity.name, listener);
    listener.release(everywhere && !this.#isShared);
  }

  /** The open listeners as a successor is told of them, and their descriptors in the same order. */
  describe(): { items: ListenerItem[]; descriptors: number[] } {
    const listeners = this.lasting().filter((listener) => listener.fd >= 0);
    const spare = this.inherited.spare();
    return {
      items: [...listeners.map((listener) => listener.item()), ...spare.map(({ item }) => item)],
      descriptors: [...listeners.map((listener) => listener.fd), ...spare.map(({ fd }) => fd)],
    };
  }

  /** Called by a listener when the service itself closed it. */
  readonly closedByService: OnClosedByService = (listener, was) => {
    const { name } = listener.identity;
    if (listener instanceof StreamListener && this.keptByThreads(listener)) {
      this.#leaveToThreads(listener, was);
      return;
    }
    // One that was released may be closed long after; its name may be another's by then.
    if (this.#own.get(name) === listener) this.#own.delete(name);
    if (was === 'open' && this.closedAt.size < MAX_LISTENERS) this.closedAt.set(name, wallClockMs());
    if (was === 'gated' && !listener.isInherited) {
      // Bound by this generation alone, and wanted no more before anybody could reach it.
      listener.release(!this.#isShared);
      this.#events.closedBehindGate?.(listener);
      return;
    }
    if (was === 'gated') {
      // It was never ours: the predecessor accepts on it. It may be claimed again.
      const fd = listener.surrenderDescriptor();
      if (fd >= 0) this.inherited.put(listener.item(), fd);
      this.#events.closedBehindGate?.(listener);
      return;
    }
    const isSpared = was === 'open' && this.#isOnProbation && listener.isInherited && listener.fd >= 0;
    if (isSpared && !this.#isKept(listener.item())) {
      // The predecessor may have to accept there again: clients wait in its queue, for whoever does next.
      const item = { ...listener.item(), spare: true };
      this.inherited.put(item, listener.surrenderDescriptor());
      this.#closedInProbation.set(name, listener);
      this.#events.closedBehindGate?.(listener);
      return;
    }
    // After commit a paused one is the successor's; only our copy goes, and it is told of when it is ours again.
    if (this.#isKept(listener.item()))
      this.inherited.putSpare(listener.item(), listener.surrenderDescriptor());
    else listener.release(was === 'open');
    if (was === 'open') this.#closedForGood(listener);
    else if (was === 'paused') this.#closedWhilePaused.set(name, listener);
  };

  #leaveToThreads(listener: StreamListener, was: ListenerState): void {
    const item = listener.item();
    const state = was === 'gated' ? 'gated' : 'open';
    const fd = listener.surrenderDescriptor();
    const left = new ThreadListener(item, fd, state, listener.isInherited, this.closedByService, this.links);
    if (was === 'paused') left.pause();
    this.#own.set(item.name, left);
  }

  /** Whether others keep it open: a service manager, or the supervisor for other slots. */
  #isKept({ lasting, family }: ListenerItem): boolean {
    return lasting === true || (this.#isShared && family !== 'file');
  }

  #closedForGood(listener: Listener): void {
    this.#givenUp.add(listener.identity.name);
    this.#events.closed(listener);
  }
}

function attempt(call: () => void): void {
  try {
    call();
  } catch (error) {
    process.emitWarning(`put off until this generation served: ${String(error)}`, 'MoultWarning');
  }
}
