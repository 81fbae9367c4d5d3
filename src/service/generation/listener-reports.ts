import type { Line } from '../../channel/line.js';
import { watchPipelining } from '../../connections/http1/pipelining.js';
import { countRequests } from '../../connections/http1/request-limit.js';
import { trackHttp2Sessions } from '../../connections/http2-sessions.js';
import type { ConnectionTracker } from '../../connections/tracker.js';
import type { Predecessor } from '../../handover/predecessor.js';
import type { Successor } from '../../handover/successor.js';
import type { ThreadsEvents } from '../../handover/threads.js';
import type { Listener } from '../../listeners/listener.js';
import type { ListenerRegistry, RegistryEvents } from '../../listeners/registry.js';
import { StreamListener } from '../../listeners/stream-listener.js';
import { ThreadListener } from '../../listeners/thread-listener.js';
import { onceHandled } from '../../node/http/handled.js';
import { isPlainHttp } from '../../node/http/http1.js';
import { isHttps, watchTlsSockets } from '../../node/tls-sockets.js';
import type { StickyRouter } from '../../sticky/sticky-router.js';
import type { LeftByProcess } from '../../threads/thread-hub.js';
import type { Overseer } from '../overseer/overseer.js';
import type { HeldForService } from './held-for-service.js';
import { PassingBy } from './passing-by.js';
import type { Readiness } from './readiness.js';

/** Who hears of the listeners of a generation. They are there when the service opens its first one. */
export interface ListenerReportsParts {
  /** Whether other slots of the service accept on them too. */
  readonly isShared: boolean;
  readonly hasPredecessor: boolean;
  readonly listeners: () => ListenerRegistry;
  readonly connections: () => ConnectionTracker;
  readonly stickyRouter: () => StickyRouter;
  readonly heldForService: () => HeldForService;
  readonly readiness: () => Readiness;
  readonly predecessor: () => Predecessor;
  readonly successor: () => Successor;
  readonly overseer: () => Overseer;
}

/** Tells the supervisor, and what else must know, of the listeners that the service opens, claims and closes. */
export class ListenerReports implements RegistryEvents {
  readonly #parts: ListenerReportsParts;
  readonly #passingBy: PassingBy;
  readonly #awaitHandlers = new WeakSet<StreamListener>();
  /** What has not been open for a turn yet. */
  readonly #toHold = new Set<Listener>();

  constructor(parts: ListenerReportsParts) {
    this.#parts = parts;
    this.#passingBy = new PassingBy(parts);
  }

  bound(listener: Listener): void {
    const { isShared, listeners, predecessor } = this.#parts;
    const ofClients = listeners().hasStarted();
    const isForClient = listener instanceof ThreadListener ? !listener.isFirstOfProcess : ofClients;
    // With slots the supervisor offers it to all.
    if (!isShared && !listener.identity.isMomentary && listener.identity.family !== 'file')
      predecessor().opened(listener, isForClient);
    this.#bound(listener);
  }

  // Where other slots have it too, or it was held for this one, the supervisor must know that this one has it again.
  claimed(listener: Listener): void {
    const { isShared, heldForService } = this.#parts;
    if (isShared || heldForService().hasLate(listener.identity.name)) this.#bound(listener);
    else this.#listens(listener);
  }

  closed(listener: Listener): void {
    const { predecessor } = this.#parts;
    if (listener.identity.isMomentary) predecessor().feedEnded();
    else this.#lifeline.send({ type: 'release', name: listener.identity.name });
    this.#passingBy.closed();
  }

  otherForm(asked: string, held: string, bindAnew: () => void): void {
    const { hasPredecessor, listeners, readiness } = this.#parts;
    if (hasPredecessor) readiness().otherForm(asked, held);
    // Nobody else will serve on the one that is held: this release listens elsewhere.
    else if (listeners().inherited.closeForGood(held, listeners().links)) {
      this.#lifeline.send({ type: 'release', name: held });
      bindAnew();
    }
  }

  closedBehindGate(): void {
    this.#parts.readiness().changed();
    this.#passingBy.closed();
  }

  closedStandIn(): void {
    this.#passingBy.closed();
  }

  /** The supervisor is to keep a copy: that is what a crash of this process leaves open. */
  hold(listener: Listener): void {
    if (listener instanceof StreamListener && !listener.isHandled) this.#holdAgainOnceHandled(listener);
    this.#lifeline.send({ type: 'hold', listener: listener.item() }, [listener.fd]);
  }

  /**
   * The supervisor hears next that this generation serves, and looks from outside at the listeners that it knows of.
   * @param isGated whether it has accepted nothing until now.
   */
  beforeServing(isGated: boolean): void {
    if (isGated) for (const listener of this.#parts.listeners().lasting()) this.hold(listener);
    else for (const listener of [...this.#toHold]) this.#holdNow(listener);
  }

  /** Tells a supervisor that has come of all listeners: those that are open, and those that are still held. */
  holdAll(): void {
    const { listeners, heldForService } = this.#parts;
    for (const listener of listeners().lasting()) this.hold(listener);
    const { items, descriptors } = listeners().describe();
    items.forEach((listener, i) => {
      const fd = descriptors[i];
      if (fd !== undefined && heldForService().hasLate(listener.name))
        this.#lifeline.send({ type: 'hold', listener }, [fd]);
    });
  }

  /** What worker threads tell of their listeners. */
  ofThreads(): ThreadsEvents {
    const { listeners, readiness } = this.#parts;
    return {
      listens: (name, address) => {
        const listener = listeners().named(name);
        if (listener instanceof ThreadListener) listener.boundTo = address;
        readiness().changed();
      },
      ready: () => readiness().changed(),
      closed: (name) => {
        const listener = listeners().named(name);
        if (listener instanceof ThreadListener) listener.closedByThreads();
      },
    };
  }

  /**
   * A process or thread that listened has ended. During a handover a successor may claim what it left, and closing that
   * would close it there, too.
   * @returns whether it is to be closed here.
   */
  left({ pid, thread, names, isExpected, hasFailed }: LeftByProcess): boolean {
    const { predecessor, overseer } = this.#parts;
    if (predecessor().state !== 'serving') return false;
    if (overseer().hearsLeft !== true) return true;
    const who = { pid, names: [...names], ...(thread === 0 ? {} : { thread }) };
    const how = { closed: isExpected, ...(hasFailed ? { failed: true } : {}) };
    this.#lifeline.send({ type: 'left', ...who, ...how });
    return isExpected;
  }

  get #lifeline(): Line {
    return this.#parts.overseer().lifeline;
  }

  // What is started after a crash must know that it has to have a handler too.
  #holdAgainOnceHandled(listener: StreamListener): void {
    if (this.#awaitHandlers.has(listener)) return;
    this.#awaitHandlers.add(listener);
    onceHandled(listener.server, () => {
      this.#awaitHandlers.delete(listener);
      if (listener.state === 'open' && listener.isHandled) this.hold(listener);
    });
  }

  #bound(listener: Listener): void {
    // Not before it has lasted for a turn: our copy keeps the port of one that is closed at once from being bound anew.
    if (isToHold(listener)) {
      this.#toHold.add(listener);
      setImmediate(() => this.#holdNow(listener));
    }
    this.#listens(listener);
  }

  #holdNow(listener: Listener): void {
    if (this.#toHold.delete(listener) && isToHold(listener)) this.hold(listener);
  }

  #listens(listener: Listener): void {
    this.#passingBy.opened();
    const { connections, stickyRouter, readiness } = this.#parts;
    if (listener instanceof StreamListener) {
      const { server } = listener;
      if (!listener.identity.isMomentary) stickyRouter().watch(listener);
      trackHttp2Sessions(server);
      watchTlsSockets(server);
      watchPipelining(server, listener);
      if (isPlainHttp(server) || isHttps(server)) countRequests(server, connections());
    }
    readiness().changed();
  }
}

function isToHold({ state, identity }: Listener): boolean {
  return state === 'open' && !identity.isMomentary;
}
