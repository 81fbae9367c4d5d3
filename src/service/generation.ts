/*
 * Over 300 lines: it only ties the rooms together, one short method each; what they do is in the rooms.
 */

import { EventEmitter } from 'node:events';
import { knownHub } from '../broadcast/shared.js';
import type { Visitor } from '../channel/door.js';
import type { Line } from '../channel/line.js';
import { ResponseCounter } from '../connections/http1/response-counter.js';
import { Measuring } from '../connections/measuring.js';
import { moveProxied } from '../connections/moving/proxied.js';
import { ConnectionTracker } from '../connections/tracker.js';
import type { MoultError } from '../errors.js';
import { CriticalSections } from '../handover/critical-sections.js';
import { type FallbackDoors, fallbackDoors } from '../handover/fallback-doors.js';
import { FlowExchange } from '../handover/flow-exchange.js';
import type { GenerationContext, Moves } from '../handover/generation-context.js';
import type { Taker } from '../handover/peer-slots.js';
import { Predecessor } from '../handover/predecessor.js';
import { Successor } from '../handover/successor.js';
import { NOT_TESTED, testMoves } from '../handover/test-moves.js';
import { Threads } from '../handover/threads.js';
import { table } from '../lifecycle/handover-states.js';
import { ListenerRegistry } from '../listeners/registry.js';
import { decidePaths } from '../node/path-decision.js';
import { wallClockMs } from '../os/clock.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import { SocketLinks } from '../os/unix-sockets/socket-links.js';
import type { Settings } from '../protocol/messages.js';
import { StateEntries } from '../state/state-entries.js';
import { StickyRouter } from '../sticky/sticky-router.js';
import { TaskLocks } from '../tasks/task-locks.js';
import { Tasks } from '../tasks/tasks.js';
import type { Beginning } from './beginning.js';
import { BroadcastPeers } from './generation/broadcast-peers.js';
import { whenBrokersSettled } from './generation/brokers-settled.js';
import { ExpectedSuccessor } from './generation/expected-successor.js';
import { GenerationDoor } from './generation/generation-door.js';
import { GenerationEnd } from './generation/generation-end.js';
import { describeGeneration } from './generation/generation-state.js';
import {
  type HandoverEventsParts,
  predecessorEvents,
  successorEvents,
} from './generation/handover-events.js';
import { HeldForService } from './generation/held-for-service.js';
import { ListenerReports } from './generation/listener-reports.js';
import { Readiness } from './generation/readiness.js';
import { heedOverseer, type OverseenGeneration } from './generation/supervisor-messages.js';
import { ThreadDoors } from './generation/thread-doors.js';
import { receiveVisitor, type VisitedGeneration } from './generation/visitors.js';
import type { LifeEvents } from './life-events.js';
import { LookedAt } from './looked-at.js';
import type { Overseer } from './overseer/overseer.js';
import { StopDelay } from './stop-delay.js';

/** The service's process as one generation: what it has, and both ends of its handovers. */
export class Generation implements GenerationContext {
  readonly number: number;
  readonly listeners: ListenerRegistry;
  readonly connections: ConnectionTracker;
  readonly flows: FlowExchange;
  readonly fallbacks: FallbackDoors;
  readonly stickyRouter: StickyRouter;
  readonly stopDelay: StopDelay;
  readonly critical = new CriticalSections();
  readonly state = new StateEntries((pid) => new ProcessHandle(pid));
  readonly tasks: Tasks;
  readonly threads: Threads;
  /** What the service may want to hear of. */
  readonly life = new EventEmitter<LifeEvents>();
  moves: Moves = { http1: NOT_TESTED };
  epoch = 0;
  #overseer: Overseer;
  readonly #lookedAt: LookedAt;
  #settings: Settings;
  #predecessor: Predecessor;
  #successor: Successor;
  readonly #began: { readonly startedAt: number; readonly tookOver: boolean };
  #counter = new ResponseCounter();
  readonly #measuring: Measuring;
  #readiness: Readiness;
  readonly #heldForService: HeldForService;
  readonly #reports: ListenerReports;
  #isGated: boolean;
  #hasTakenOver = false;
  readonly #threadDoors: ThreadDoors;
  readonly #expected: ExpectedSuccessor;
  readonly #door: GenerationDoor;
  readonly #end: GenerationEnd;
  readonly #peers: BroadcastPeers;

  constructor({ number, settings, overseer, inheritance, giver }: Beginning) {
    const { listeners, descriptors } = inheritance;
    this.number = number;
    this.#peers = new BroadcastPeers(number);
    this.epoch = inheritance.epoch;
    this.#settings = settings;
    this.#overseer = overseer;
    this.#began = { startedAt: wallClockMs(), tookOver: giver !== undefined };
    this.#isGated = giver !== undefined || listeners.length > 0;
    const isShared = settings.sharesListeners === true;
    // What is made further down, or changes: as it is when it is asked for.
    const live = {
      hasPredecessor: giver !== undefined,
      readiness: () => this.#readiness,
      predecessor: () => this.#predecessor,
      successor: () => this.#successor,
      overseer: () => this.#overseer,
      lifeline: () => this.#lifeline,
    };
    this.#reports = new ListenerReports({
      isShared,
      listeners: () => this.listeners,
      connections: () => this.connections,
      stickyRouter: () => this.stickyRouter,
      heldForService: () => this.#heldForService,
      ...live,
    });
    const links = new SocketLinks(overseer.folder);
    this.listeners = new ListenerRegistry(this.#isGated, this.#reports, isShared, links);
    decidePaths(this.listeners.decide);
    this.listeners.inherited.takeOver(listeners, descriptors);
    this.#heldForService = new HeldForService({
      listeners: this.listeners,
      readyTimeoutMs: settings.readyTimeoutMs,
      ...live,
    });
    this.#lookedAt = new LookedAt(this.listeners, () => this.threads, this.#heldForService);
    const locks = overseer.isFolderOfService
      ? new TaskLocks(overseer.folder, process.env.MOULT_SLOT)
      : undefined;
    this.tasks = new Tasks(locks, {
      // Within probation the predecessor, which could run it, does so again.
      failed: (error) => {
        process.emitWarning(`${error.message} (${error.code})`, 'MoultWarning');
        this.#successor.giveUp(error);
      },
      idle: () => this.#predecessor.feedEnded(),
    });
    this.threads = new Threads(this.#reports.ofThreads());
    const hears = inheritance.hearsMissing === true ? (giver ?? overseer.lifeline) : undefined;
    this.#readiness = new Readiness({
      settings,
      listeners: this.listeners,
      threads: this.threads,
      inherited: listeners,
      hasPredecessor: giver !== undefined,
      brokersSettled: (then) => whenBrokersSettled(giver !== undefined, settings.readyTimeoutMs, then),
      ready: (late) => this.#ready(late),
      refuse: (error) => this.refuse(error),
      missing: (names, opened) => hears?.send({ type: 'missing', names: [...names], opened: [...opened] }),
    });
    this.listeners.keptByThreads = (listener) => this.threads.countOf(listener.identity.name) > 0;
    this.listeners.isOfMember = (name) => this.threads.isOfOther(name, process.pid);
    // Before that one on any free port is as much part of the service as any other, and its successor gets it.
    this.listeners.hasStarted = () =>
      this.connections.hasHadAny || this.#hasTakenOver || performance.now() > settings.readyTimeoutMs;
    this.#threadDoors = new ThreadDoors({
      number,
      listeners: this.listeners,
      threads: this.threads,
      inherited: listeners,
      settings,
      folder: () => this.#overseer.folder,
      left: (left) => this.#reports.left(left),
      // Before its first listener a generation without a predecessor does not serve, and may.
      mayAccept: () =>
        this.listeners.initialState === 'open' && table[this.#predecessor.state].accepts === 'predecessor',
    });
    this.flows = new FlowExchange(this.listeners);
    this.connections = new ConnectionTracker((server) => this.listeners.of(server) !== undefined);
    this.connections.start();
    moveProxied();
    this.stickyRouter = new StickyRouter({
      context: this,
      generation: number,
      isServing: () => this.isServing,
      isTaken: (handle, listener) => this.#lookedAt.takes(handle, listener),
      idle: () => this.#predecessor.feedEnded(),
    });
    this.stopDelay = new StopDelay(settings, number === 1);
    if (settings.countErrors) this.#counter.start();
    this.#measuring = new Measuring(this.connections);
    if (settings.measures) this.#measuring.startForLife();
    this.#end = new GenerationEnd({
      context: this,
      life: this.life,
      measuring: this.#measuring,
      stopSignal: settings.stopSignal,
      ...live,
    });
    const handoverEvents = this.#handoverEvents();
    this.#predecessor = new Predecessor(this, predecessorEvents(handoverEvents));
    this.#successor = new Successor(this, successorEvents(handoverEvents));
    const visit: Visitor = (channel, hello) => receiveVisitor(this.#visited(), channel, hello);
    this.#door = new GenerationDoor(overseer.folder, number, {
      visit,
      lifeline: () => this.#lifeline,
      isCommitted: () => this.#successor.isCommitted,
      refuse: (error) => this.refuse(error),
    });
    this.fallbacks = fallbackDoors(number, this.#door, this.#successor, this.#predecessor.feeds);
    this.#expected = new ExpectedSuccessor({ number, door: this.#door, ...live });
    this.life.on('serve', () => knownHub()?.feeds.serve());
    for (const over of ['yield', 'drain'] as const) this.life.on(over, () => knownHub()?.feeds.yield());
    this.#attach(overseer);
    // A gated listener does not keep the process alive; the wait for its commit does.
    if (this.#isGated && giver === undefined) overseer.lifeline.ref();
    if (giver !== undefined) this.#successor.inheritFrom(giver, inheritance);
    this.#door.openOrRefuse(giver !== undefined);
    overseer.receive(visit);
    testMoves(settings).then((moves) => {
      this.moves = moves;
      this.#readiness.tested();
    });
  }

  get overseer(): Overseer {
    return this.#overseer;
  }

  get #lifeline(): Line {
    return this.#overseer.lifeline;
  }

  isBeingFed(): boolean {
    return this.#successor.isBeingFed || this.#predecessor.isBeingFed || !this.stickyRouter.isIdle;
  }

  /** The service will say when it is ready: until then it is not, whatever it listens on. */
  willSay(): void {
    this.#readiness.willSay();
  }

  /** The names of listeners that are held for it, and on which it does not listen yet. */
  held(): string[] {
    return this.#heldForService.names;
  }

  /** Whether it accepts, or would if it had a listener. */
  get isServing(): boolean {
    return this.#successor.isCommitted && table[this.#predecessor.state].accepts === 'predecessor';
  }

  /** Whether it is just being decided who accepts: in the middle of a commit, or of an undo. */
  get isBetween(): boolean {
    return ['committing', 'undoing', 'returning'].includes(this.#predecessor.state);
  }

  /** Where worker threads of this process join it. @param shut memory in which they see that they may not accept. */
  doorForThreads(shut?: Int32Array): Promise<string> {
    return this.#threadDoors.join(shut);
  }

  /** Where threads of another process bring connections: also to a main thread that has none, where they came from some. */
  doorsForThreads(): string[] {
    return this.#threadDoors.ofOthers(this.#door.isOpen ? this.#door.path : undefined);
  }

  /** The service found that it cannot serve: ends a handover to it; without one nothing happens. */
  refuse(error: MoultError): void {
    this.#successor.refuse(error);
  }

  /** Ends this generation without a successor, after what it has is finished, up to the time-out. */
  retire(timeoutMs: number, keepOpen = this.#overseer.retires(), heirs: readonly Taker[] = []): void {
    // Its own predecessor, if it still could resume, is not needed any more.
    this.#successor.confirm();
    if (heirs.length === 0) this.stickyRouter.stop();
    const before = this.#predecessor.state;
    const spreadMs = this.#settings.drainSpreadMs ?? 0;
    this.#predecessor.retire({ timeoutMs, keepOpen, heirs, spreadMs });
    if (before !== 'draining' && this.#predecessor.state === 'draining') this.life.emit('drain');
  }

  /** Has this done before the process gets its stop signal. */
  beforeEnd(work: () => unknown): void {
    this.#end.before(work);
  }

  /** Takes the state that the predecessor has. @throws MOULT_STATE_FAILED */
  takeState(): Promise<void> {
    return this.#successor.takeState();
  }

  /** The service has lived for as long as one without a listener takes to be ready. */
  lives(): void {
    this.#readiness.lives();
  }

  /** The service says that it is ready. */
  said(): void {
    this.#readiness.said();
  }

  #handoverEvents(): HandoverEventsParts {
    return {
      context: this,
      life: this.life,
      reports: this.#reports,
      heldForService: this.#heldForService,
      lifeline: () => this.#lifeline,
      overseer: () => this.#overseer,
      readiness: () => this.#readiness,
      predecessor: () => this.#predecessor,
      successorNumber: () => this.#expected.number ?? 0,
      isGated: () => this.#isGated,
      committed: () => this.#committed(),
      retire: () => this.retire(this.#settings.drainTimeoutMs),
      end: (report) => this.#end.begin(report),
    };
  }

  #attach(overseer: Overseer): void {
    this.#overseer = overseer;
    const { lifeline } = overseer;
    lifeline.unref();
    this.#successor.heed(lifeline);
    this.#lookedAt.heed(lifeline);
    heedOverseer(lifeline, this.#overseen());
    lifeline.closed.then(() => this.#overseerLost());
  }

  #overseen(): OverseenGeneration {
    return {
      number: this.number,
      lifeline: () => this.#lifeline,
      context: this,
      predecessor: this.#predecessor,
      readiness: this.#readiness,
      stickyRouter: this.stickyRouter,
      peers: this.#peers,
      stopDelay: this.stopDelay,
      life: this.life,
      isServing: () => this.isServing,
      expect: (generation, settings) => this.#expected.expect(generation, settings),
      retire: (timeoutMs, keepOpen, heirs) => this.retire(timeoutMs, keepOpen, heirs),
      takeDoor: (path, fd) => this.#door.take(path, fd),
      doorForThreads: () => this.doorForThreads(),
      describe: (measure) =>
        describeGeneration(
          {
            number: this.number,
            ...this.#began,
            context: this,
            predecessor: this.#predecessor,
            counter: this.#counter,
            measuring: this.#measuring,
          },
          measure,
        ),
    };
  }

  #visited(): VisitedGeneration {
    return {
      number: this.number,
      context: this,
      predecessor: this.#predecessor,
      overseer: this.#overseer,
      isServing: this.isServing,
      expectStranger: (admit) => this.#expected.expectStranger(admit),
    };
  }

  // The service goes on; a supervisor that comes, or comes back, finds it.
  #overseerLost(): void {
    this.#overseer.releaseOutput();
    if (this.#end.hasBegun) return;
    const standing = () => ({
      accepting: this.isServing,
      epoch: this.epoch,
      state: this.#predecessor.state,
      successor: this.#expected.number ?? null,
    });
    this.#overseer.next(this.number, standing, (overseer) => {
      this.#attach(overseer);
      if (this.#door.isOpen) this.#door.announce();
      if (!this.#isGated) this.#reports.holdAll();
    });
  }

  #ready(late: readonly string[]): void {
    this.#heldForService.declineOffers();
    this.#heldForService.promise(this.#successor.ready(this.#readiness.hasSaid, late));
    if (!this.#isGated) this.#successor.serveAtOnce();
  }

  #committed(): void {
    this.#lifeline.unref();
    this.#heldForService.committed();
    this.#reports.beforeServing(this.#isGated);
    this.#hasTakenOver = this.#isGated;
    this.#isGated = false;
    this.#lifeline.send({ type: 'serving', epoch: this.epoch, said: this.#readiness.hasSaid });
    this.#overseer.accepts();
    this.life.emit('serve', { resumed: false });
  }
}
