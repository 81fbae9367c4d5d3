/*
 * Over 300 lines: it only ties the rooms together, one short method each; what they do is in the rooms.
 */

import { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { getEnvironmentData } from 'node:worker_threads';
import { broadcastHub, knownHub } from '../broadcast/shared.js';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import type { Line } from '../channel/line.js';
import { watchPipelining } from '../connections/http1/pipelining.js';
import { countRequests } from '../connections/http1/request-limit.js';
import { ResponseCounter } from '../connections/http1/response-counter.js';
import { trackHttp2Sessions } from '../connections/http2-sessions.js';
import { Measuring, together } from '../connections/measuring.js';
import { moveProxied } from '../connections/moving/proxied.js';
import { ConnectionTracker } from '../connections/tracker.js';
import { asMoultError, MoultError } from '../errors.js';
import { CriticalSections } from '../handover/critical-sections.js';
import { FlowExchange } from '../handover/flow-exchange.js';
import { type GenerationContext, type Moves, movableClaims } from '../handover/generation-context.js';
import { meetPeerSlots, type Taker } from '../handover/peer-slots.js';
import { Predecessor } from '../handover/predecessor.js';
import { Successor } from '../handover/successor.js';
import { NOT_TESTED, testMoves } from '../handover/test-moves.js';
import { Threads } from '../handover/threads.js';
import { table } from '../lifecycle/handover-states.js';
import type { Listener } from '../listeners/listener.js';
import { ListenerRegistry } from '../listeners/registry.js';
import { StreamListener } from '../listeners/stream-listener.js';
import { ThreadListener } from '../listeners/thread-listener.js';
import { onceHandled } from '../node/http/handled.js';
import { giveToServer, isPlainHttp, requestsInFlight, socketOn } from '../node/http/http1.js';
import { decidePaths } from '../node/path-decision.js';
import { isHttps, watchTlsSockets } from '../node/tls-sockets.js';
import { wallClockMs } from '../os/clock.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { reserve } from '../os/descriptors/descriptor-reserve.js';
import { residentBytes } from '../os/processes/proc-tree.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import { SocketLinks } from '../os/unix-sockets/socket-links.js';
import type {
  DrainReport,
  GenerationState,
  ListenerItem,
  Message,
  MessageType,
  Settings,
} from '../protocol/messages.js';
import { StateEntries } from '../state/state-entries.js';
import { StickyRouter } from '../sticky/sticky-router.js';
import { TaskLocks } from '../tasks/locks.js';
import { passable, takePassed } from '../tasks/passed-tasks.js';
import { Tasks } from '../tasks/tasks.js';
import { type LeftByProcess, ThreadHub } from '../threads/hub.js';
import { MARK } from '../threads/mark.js';
import { askToEnd } from './ask-to-end.js';
import type { Beginning } from './beginning.js';
import { whenFed } from './fed.js';
import { LateListeners } from './late-listeners.js';
import type { LifeEvents } from './life-events.js';
import { LookedAt } from './looked-at.js';
import type { Overseer } from './overseer/overseer.js';
import { Peers } from './peers.js';
import { Readiness } from './readiness.js';
import { StopDelay } from './stop-delay.js';

/** How long after it found no room the socket at which successors come is tried again. */
const DOOR_AGAIN_MS = 1000;

/** A successor can be let in, and its process be watched, although the service may open no more descriptors. */
const RESERVED_DESCRIPTORS = 6;

/** The service's process as one generation: what it has, and both ends of its handovers. */
export class Generation implements GenerationContext {
  readonly number: number;
  readonly listeners: ListenerRegistry;
  readonly connections: ConnectionTracker;
  readonly flows: FlowExchange;
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
  #startedAt = wallClockMs();
  #counter = new ResponseCounter();
  readonly #measuring: Measuring;
  #readiness: Readiness;
  #promised: readonly string[] = [];
  /** What the predecessor has opened since, and keeps where it is not claimed before this one is ready. */
  #offered: string[] = [];
  #late: LateListeners | undefined;
  readonly #awaitHandlers = new WeakSet<StreamListener>();
  #hasPredecessor: boolean;
  #isGated: boolean;
  #hasTakenOver = false;
  #inherited: readonly ListenerItem[];
  #hub: Promise<ThreadHub> | undefined;
  #successorNumber: number | undefined;
  readonly #doorPath: string;
  #door: Door | undefined;
  #isEnding = false;
  #beforeEnd: (() => unknown)[] = [];
  readonly #peers: Peers;

  constructor({ number, settings, overseer, inheritance, giver }: Beginning) {
    const { listeners, descriptors } = inheritance;
    this.number = number;
    this.#peers = new Peers(number);
    this.epoch = inheritance.epoch;
    this.#settings = settings;
    this.#overseer = overseer;
    this.#inherited = listeners;
    this.#hasPredecessor = giver !== undefined;
    this.#isGated = giver !== undefined || listeners.length > 0;
    const isShared = settings.sharesListeners === true;
    const events = {
      bound: (listener: Listener) => this.#opened(listener),
      // Where other slots have it too, or it was held for this one, the supervisor must know that this one has it again.
      claimed: (listener: Listener) =>
        isShared || this.#late?.has(listener.identity.name) ? this.#bound(listener) : this.#listens(listener),
      closed: (listener: Listener) => {
        if (listener.identity.isMomentary) this.#predecessor.feedEnded();
        else this.#lifeline.send({ type: 'release', name: listener.identity.name });
      },
      otherForm: (asked: string, held: string, bindAnew: () => void) => {
        if (this.#hasPredecessor) this.#readiness.otherForm(asked, held);
        // Nobody else will serve on the one that is held: this release listens elsewhere.
        else if (this.listeners.inherited.closeForGood(held, this.listeners.links)) {
          this.#lifeline.send({ type: 'release', name: held });
          bindAnew();
        }
      },
      closedBehindGate: () => this.#readiness.changed(),
    };
    const links = new SocketLinks(overseer.folder);
    this.listeners = new ListenerRegistry(this.#isGated, events, isShared, links);
    decidePaths(this.listeners.decide);
    this.#lookedAt = new LookedAt(this.listeners);
    this.listeners.inherited.takeOver(listeners, descriptors);
    const locks = overseer.isFolderOfService
      ? new TaskLocks(overseer.folder, process.env.MOULT_SLOT)
      : undefined;
    this.tasks = new Tasks(locks, {
      failed: (error) => this.#taskFailed(error),
      idle: () => this.#predecessor.feedEnded(),
    });
    this.threads = new Threads({
      listens: (name, address) => this.#threadListens(name, address),
      ready: () => this.#readiness.changed(),
      closed: (name) => {
        const listener = this.listeners.named(name);
        if (listener instanceof ThreadListener) listener.closedByThreads();
      },
    });
    const hears = inheritance.hearsMissing === true ? (giver ?? overseer.lifeline) : undefined;
    this.#readiness = new Readiness({
      settings,
      listeners: this.listeners,
      threads: this.threads,
      inherited: listeners,
      hasPredecessor: giver !== undefined,
      fed: (then) => whenFed(giver !== undefined, settings.readyTimeoutMs, then),
      ready: (late) => this.#ready(late),
      refuse: (error) => this.refuse(error),
      missing: (names, opened) => hears?.send({ type: 'missing', names: [...names], opened: [...opened] }),
    });
    this.listeners.keptByThreads = (listener) => this.threads.countOf(listener.identity.name) > 0;
    this.listeners.isOfMember = (name) => this.threads.isOfOther(name, process.pid);
    // Before that one on any free port is as much part of the service as any other, and its successor gets it.
    this.listeners.hasStarted = () =>
      this.connections.hasHadAny || this.#hasTakenOver || performance.now() > settings.readyTimeoutMs;
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
    this.#predecessor = this.#asPredecessor();
    this.#successor = this.#asSuccessor();
    this.life.on('serve', () => knownHub()?.feeds.serve());
    for (const over of ['yield', 'drain'] as const) this.life.on(over, () => knownHub()?.feeds.yield());
    this.#attach(overseer);
    // A gated listener does not keep the process alive; the wait for its commit does.
    if (this.#isGated && giver === undefined) overseer.lifeline.ref();
    if (giver !== undefined) {
      const { keeps = false, broadcasts = false } = inheritance;
      this.#successor.inheritFrom(giver, { keeps, broadcasts });
    }
    this.#doorPath = join(overseer.folder, `g${this.number}-${process.pid}.sock`);
    this.#openDoorOrRefuse(giver !== undefined);
    overseer.receive(this.#visit);
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
    return [...this.listeners.inherited.unclaimed(), ...(this.#late?.names ?? [])];
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
  async doorForThreads(shut: Int32Array): Promise<string> {
    const { number, listeners, threads } = this;
    // Before its first listener a generation without a predecessor does not serve, and may.
    const mayAccept = () =>
      this.listeners.initialState === 'open' && table[this.#predecessor.state].accepts === 'predecessor';
    const around = {
      number,
      listeners,
      threads,
      folder: this.#overseer.folder,
      settings: this.#settings,
      left: (left: LeftByProcess) => this.#left(left),
      get mayAccept() {
        return mayAccept();
      },
    };
    this.#hub ??= ThreadHub.open(around, shut);
    return (await this.#hub).path;
  }

  /** Where threads of another process bring connections: also to a main thread that has none, where they came from some. */
  doorsForThreads(): string[] {
    const doors = this.threads.doors();
    const isMet = doors.length > 0 || this.#inherited.some(({ threads = 0 }) => threads > 0);
    return isMet && this.#door !== undefined ? [...doors, this.#doorPath] : doors;
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
    this.#beforeEnd.push(work);
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

  // Within probation the predecessor, which could run it, does so again.
  #taskFailed(error: MoultError): void {
    process.emitWarning(`${error.message} (${error.code})`, 'MoultWarning');
    this.#successor.giveUp(error);
  }

  #asPredecessor(): Predecessor {
    const say = <T extends MessageType>(message: Message<T>) => this.#lifeline.send(message);
    const heir = () => this.#successorNumber ?? 0;
    return new Predecessor(this, {
      stage: (stage, facts) => {
        say({ type: 'progress', generation: heir(), stage, at: wallClockMs(), facts });
        if (stage === 'commit') this.life.emit('yield', { successor: heir() });
        if (stage === 'confirm') this.life.emit('drain');
      },
      aborted: (error) => {
        say({ type: 'aborted', generation: heir(), error: error.report() });
        this.life.emit('failed', error);
      },
      undone: (error, alive) => {
        say({ type: 'undone', generation: heir(), error: error.report(), alive });
        // What the successor has told of since is not what serves.
        for (const listener of this.listeners.own()) this.#hold(listener);
        this.#overseer.accepts();
        this.life.emit('failed', error);
        this.life.emit('serve', { resumed: true });
      },
      takenBack: () => this.life.emit('drain'),
      servesOn: () => {
        say({ type: 'serving', epoch: this.epoch, said: this.#readiness.hasSaid });
        this.#overseer.accepts();
        this.life.emit('serve', { resumed: true });
      },
      released: (name) => say({ type: 'release', name }),
      given: (listener) => this.#hold(listener),
      drained: (report) => this.#end(report),
    });
  }

  #asSuccessor(): Successor {
    return new Successor(this, {
      committed: () => this.#committed(),
      handBack: (channel, flows, message, returning) => {
        this.#late?.stop();
        this.#predecessor.giveBack(channel, flows, message, returning);
        knownHub()?.feeds.yield();
      },
      aborted: (error) => {
        this.tasks.close();
        this.life.emit('aborted', error);
        this.#overseer.aborted(error);
      },
      retire: () => this.retire(this.#settings.drainTimeoutMs),
      lateListener: (item, fd, waits) => this.#lateListener(item, fd, waits),
      confirmed: () => this.#late?.confirm(),
      ended: () => {
        this.#late?.confirm();
        // The predecessor died before it had committed: the overseer will, and until then we must live.
        if (this.#isGated) this.#lifeline.ref();
        this.#predecessor.feedEnded();
        this.#overseer.predecessorEnded();
      },
    });
  }

  #attach(overseer: Overseer): void {
    this.#overseer = overseer;
    const { lifeline } = overseer;
    lifeline.unref();
    this.#successor.heed(lifeline);
    this.#lookedAt.heed(lifeline);
    lifeline.on('expect', ({ generation, settings }) => this.#expect(generation, settings));
    lifeline.on('abort', ({ error, generation }) =>
      this.#predecessor.fail(MoultError.from(error), generation),
    );
    lifeline.on('undo', ({ error }) => this.#predecessor.fail(MoultError.from(error)));
    lifeline.on('proceed', ({ generation }) => this.#predecessor.proceed(generation));
    lifeline.on('confirm', ({ retire }) => this.#predecessor.confirm(retire));
    lifeline.on('retire', ({ timeoutMs, keepOpen, heirs }) => {
      if (heirs === undefined) this.retire(timeoutMs, keepOpen);
      else meetPeerSlots(heirs, this.number).then((met) => this.retire(timeoutMs, keepOpen, met));
    });
    lifeline.on('stopping', (stopping) => {
      this.stopDelay.begin(stopping);
      this.life.emit('stopping', { delayMs: stopping.delayMs });
    });
    lifeline.on('homes', (homes) => this.stickyRouter.learn(homes));
    lifeline.on('peers', ({ peers }) => this.#peers.learn(peers));
    lifeline.on('give', ({ door, count }) => this.#give(door, count));
    lifeline.on('share', ({ listener }, incoming) => {
      const [fd] = incoming.take();
      if (fd !== undefined) this.listeners.inherited.offer(listener, fd);
    });
    lifeline.on('withdraw', ({ name }) => {
      this.listeners.inherited.withdraw(name);
      this.#readiness.changed();
    });
    lifeline.on('check-connection', ({ listener }, incoming) => this.#check(listener, incoming.take()));
    lifeline.on('ask-members-door', ({ id }) => {
      const tell = (path: string | null) => lifeline.send({ type: 'members-door', id, path });
      this.doorForThreads(sharedMark()).then(tell, () => tell(null));
    });
    lifeline.on('ask-state', ({ id, measure = false, declared = false }) => {
      // Without an answer the overseer knows no more than before; the service goes on.
      this.#describe(measure)
        .then((state) => {
          const beside = declared ? { declared: this.state.declared() } : {};
          lifeline.send({ type: 'state', id, state: { ...state, ...beside } });
        })
        .catch(() => {});
    });
    lifeline.closed.then(() => this.#overseerLost());
  }

  #expect(generation: number, settings: Settings): void {
    try {
      this.#assertStays();
      // A successor that is started now must find it.
      this.#openDoor();
      // Who is to be replaced has proved itself: its own predecessor is not needed any more.
      this.#successor.confirm();
      this.#predecessor.expect(generation, settings);
      this.#successorNumber = generation;
      this.#lifeline.send({ type: 'expecting', generation });
    } catch (error) {
      const report = asMoultError(error, 'MOULT_PROTOCOL_ORDER').report();
      this.#lifeline.send({ type: 'expecting', generation, error: report });
    }
  }

  // Whether it is to hand back is not known yet: it cannot be replaced.
  #assertStays(): void {
    if (!this.#successor.isGivingUp) return;
    const why = `generation ${this.number} has failed and asked its predecessor to serve again`;
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', why);
  }

  // The service goes on; a supervisor that comes, or comes back, finds it.
  #overseerLost(): void {
    this.#overseer.releaseOutput();
    if (this.#isEnding) return;
    const standing = () => ({
      accepting: this.isServing,
      epoch: this.epoch,
      state: this.#predecessor.state,
      successor: this.#successorNumber ?? null,
    });
    this.#overseer.next(this.number, standing, (overseer) => {
      this.#attach(overseer);
      if (this.#door !== undefined) this.#lifeline.send({ type: 'door', path: this.#doorPath, looks: true });
      if (this.#isGated) return;
      for (const listener of this.listeners.lasting()) this.#hold(listener);
      const { items, descriptors } = this.listeners.describe();
      items.forEach((listener, i) => {
        const fd = descriptors[i];
        if (fd !== undefined && this.#late?.has(listener.name))
          this.#lifeline.send({ type: 'hold', listener }, [fd]);
      });
    });
  }

  /** @throws MOULT_SYSTEM_CALL where there is no room for its socket. */
  #openDoor(): void {
    if (this.#door === undefined) {
      const door = Door.open(this.#doorPath, 'predecessor', this.#visit);
      door.keep();
      reserve.keep(RESERVED_DESCRIPTORS);
      process.once('exit', () => door.close());
      this.#door = door;
    } else if (!this.#door.mend()) return;
    this.#lifeline.send({ type: 'door', path: this.#doorPath, looks: true });
  }

  // One that nobody could replace later is not let in. Where nobody else serves it must be, and gets its door when there is room.
  #openDoorOrRefuse(hasPredecessor: boolean): void {
    try {
      this.#openDoor();
    } catch (error) {
      const { message } = asMoultError(error, 'MOULT_SYSTEM_CALL');
      const what = `generation ${this.number} could not create the socket that its successor needs to take over: ${message}`;
      if (hasPredecessor && !this.#successor.isCommitted)
        this.refuse(new MoultError('MOULT_SYSTEM_CALL', what));
      setTimeout(() => this.#openDoorOrRefuse(false), DOOR_AGAIN_MS).unref();
    }
  }

  #visit = (channel: Channel, hello: Message<'hello'>): void => {
    if (hello.role === 'neighbour' && hello.shares === true) {
      broadcastHub().accept(channel, true);
      return;
    }
    if (hello.role === 'neighbour') {
      this.#receiveNeighbour(channel);
      return;
    }
    if (hello.role === 'supervisor' && this.#overseer.meet?.(channel) === true) return;
    if (hello.role !== 'successor')
      throw new MoultError('MOULT_NOT_EXPECTED', `expected a successor, met ${hello.role}`);
    if (hello.generation === undefined) this.#receiveStranger(channel, hello);
    else this.#predecessor.receive(channel, hello);
  };

  // The connections of another slot's generation, or of a thread, come in as if they had been accepted here.
  #receiveNeighbour(channel: Channel): void {
    if (!this.isServing && this.#predecessor.state !== 'undoing') {
      const what = `generation ${this.number} does not serve: it accepts no connections`;
      throw new MoultError('MOULT_NOT_SERVING', what);
    }
    this.#predecessor.takeFrom(channel);
    const threads = this.threads.doors();
    const doors = threads.length === 0 ? {} : { threads };
    takePassed(channel, this.tasks);
    const tasks = passable(this.tasks);
    channel.send({ type: 'takes', claims: movableClaims(this), fresh: true, ...doors, tasks });
  }

  async #give(door: string, count: number): Promise<void> {
    const mayBegin = () => this.isServing;
    const moved = await this.#predecessor.sharingOut.give(door, count, this.number, mayBegin);
    this.#lifeline.send({ type: 'gave', moved });
  }

  #receiveStranger(channel: Channel, hello: Message<'hello'>): void {
    this.#assertStays();
    const { number, settings } = this.#overseer.admit(channel);
    this.#successor.confirm();
    this.#predecessor.expect(number, settings);
    this.#successorNumber = number;
    try {
      this.#predecessor.receive(channel, hello, number);
    } catch (error) {
      this.#predecessor.fail(asMoultError(error, 'MOULT_HANDOVER_ABORTED'));
      throw error;
    }
  }

  // The supervisor speaks to the service as a client would, past the gate.
  #check(name: string | null, [fd, ...surplus]: number[]): void {
    for (const one of surplus) closeDescriptor(one);
    if (fd === undefined) return;
    const server = name === null ? this.listeners.streams()[0]?.server : this.listeners.serverOf(name);
    if (server !== undefined) giveToServer(server, socketOn(fd, server));
    else {
      this.threads.check(name, fd);
      closeDescriptor(fd);
    }
  }

  #opened(listener: Listener): void {
    const ofClients = this.listeners.hasStarted();
    const isForClient = listener instanceof ThreadListener ? !listener.isFirstOfProcess : ofClients;
    // With slots the supervisor offers it to all.
    if (
      this.#settings.sharesListeners !== true &&
      !listener.identity.isMomentary &&
      listener.identity.family !== 'file'
    )
      this.#predecessor.opened(listener, isForClient);
    this.#bound(listener);
  }

  #bound(listener: Listener): void {
    // Not before it has lasted for a turn: our copy keeps the port of one that is closed at once from being bound anew.
    const isToHold = () => listener.state === 'open' && !listener.identity.isMomentary;
    if (isToHold()) setImmediate(() => isToHold() && this.#hold(listener));
    this.#listens(listener);
  }

  #listens(listener: Listener): void {
    if (listener instanceof StreamListener) {
      const { server } = listener;
      if (!listener.identity.isMomentary) this.stickyRouter.watch(listener);
      trackHttp2Sessions(server);
      watchTlsSockets(server);
      watchPipelining(server, listener);
      if (isPlainHttp(server) || isHttps(server)) countRequests(server, this.connections);
    }
    this.#readiness.changed();
  }

  // During a handover a successor may claim it, and closing it would close it there, too.
  #left({ pid, thread, names, isExpected, hasFailed }: LeftByProcess): boolean {
    if (this.#predecessor.state !== 'serving') return false;
    if (this.#overseer.hearsLeft !== true) return true;
    const who = { pid, names: [...names], ...(thread === 0 ? {} : { thread }) };
    const how = { closed: isExpected, ...(hasFailed ? { failed: true } : {}) };
    this.#lifeline.send({ type: 'left', ...who, ...how });
    return isExpected;
  }

  #threadListens(name: string, address: AddressInfo | string): void {
    const listener = this.listeners.named(name);
    if (listener instanceof ThreadListener) listener.boundTo = address;
    this.#readiness.changed();
  }

  // The supervisor's copy is what a crash of this process leaves open.
  #hold(listener: Listener): void {
    if (listener instanceof StreamListener && !listener.isHandled) this.#holdAgainOnceHandled(listener);
    this.#lifeline.send({ type: 'hold', listener: listener.item() }, [listener.fd]);
  }

  // What is started after a crash must know that it has to have a handler too.
  #holdAgainOnceHandled(listener: StreamListener): void {
    if (this.#awaitHandlers.has(listener)) return;
    this.#awaitHandlers.add(listener);
    onceHandled(listener.server, () => {
      this.#awaitHandlers.delete(listener);
      if (listener.state === 'open' && listener.isHandled) this.#hold(listener);
    });
  }

  // One that only the predecessor has is its own affair, or this one's too; then its clients wait here.
  #lateListener(item: ListenerItem, fd: number, waits: boolean): void {
    const { isReady, isCommitted } = this.#successor;
    if (!waits) {
      if (isReady) closeDescriptor(fd);
      else this.#offered.push(item.name);
      if (!isReady) this.listeners.inherited.offer(item, fd);
      return;
    }
    this.listeners.inherited.addLate(item, fd);
    if (!isReady) this.#readiness.alsoExpects(item.name);
    else if (!isCommitted) this.#promised = [...this.#promised, item.name];
    else this.#holdLate([...(this.#late?.names ?? []), item.name], this.#settings.readyTimeoutMs);
  }

  #ready(late: readonly string[]): void {
    for (const name of this.#offered.splice(0)) this.listeners.inherited.declineOffer(name);
    this.#promised = this.#successor.ready(this.#readiness.hasSaid, late);
    if (!this.#isGated) this.#successor.serveAtOnce();
  }

  #committed(): void {
    this.#lifeline.unref();
    this.#holdLate(this.listeners.dropUnclaimed(new Set(this.#promised)));
    if (this.#isGated) for (const listener of this.listeners.lasting()) this.#hold(listener);
    this.#hasTakenOver = this.#isGated;
    this.#isGated = false;
    this.#lifeline.send({ type: 'serving', epoch: this.epoch, said: this.#readiness.hasSaid });
    this.#overseer.accepts();
    this.life.emit('serve', { resumed: false });
  }

  // What it said that it has, and closed again to listen anew, is held for it too.
  #holdLate(
    names: readonly string[],
    inMs = Math.max(0, this.#settings.readyTimeoutMs - performance.now()),
  ): void {
    if (names.length === 0) return;
    this.#late?.stop();
    const isConfirmed = !this.#hasPredecessor || this.#successor.isConfirmed;
    this.#late = new LateListeners(this.listeners, names, inMs, isConfirmed, (name) =>
      this.#lifeline.send({ type: 'release', name, late: true }),
    );
  }

  // As the service is used to: its own handlers run, and whatever it holds itself is closed by it.
  #end(report: DrainReport): void {
    this.#isEnding = true;
    const measures = this.#measuring.measured;
    this.#lifeline.send({ type: 'drained', report, ...(measures && { measures }) });
    this.life.emit('end', report);
    this.#lifeline.unref();
    this.#successor.unref();
    this.#lifeline.ref();
    const work = this.#beforeEnd.map(async (one) => one());
    Promise.allSettled([this.#overseer.mayEnd, this.tasks.close(), ...work]).then(() => {
      this.#lifeline.unref();
      this.threads.end();
      askToEnd(this.#settings.stopSignal as NodeJS.Signals);
    });
  }

  async #describe(measure: boolean): Promise<GenerationState> {
    const threads = await this.threads.counts(measure);
    const own = measure ? [this.#measuring.ask()] : [];
    const measures = together([...own, ...threads.measures]);
    const draining = this.#predecessor.draining(measure);
    return {
      generation: this.number,
      pid: process.pid,
      state: this.#predecessor.state,
      entry: process.argv[1] ?? '',
      startedAt: this.#startedAt,
      listeners: this.listeners.sockets().map((listener) => ({
        name: listener.identity.name,
        address: addressOf(listener),
      })),
      connections: this.connections.size + threads.connections,
      inFlight: this.connections
        .servers()
        .reduce((sum, server) => sum + requestsInFlight(server), threads.inFlight),
      critical: this.critical.size,
      responses: this.#counter.responses + threads.responses,
      errors: this.#counter.errors + threads.errors,
      moves: this.moves,
      memoryBytes: residentBytes(process.pid),
      ...(measures && { measures }),
      ...(draining && { draining }),
    };
  }
}

// What threads of this process look at, too.
function sharedMark(): Int32Array {
  const mark = getEnvironmentData(MARK);
  return new Int32Array(mark instanceof SharedArrayBuffer ? mark : new SharedArrayBuffer(4));
}

function addressOf(listener: Listener): Record<string, unknown> {
  const address = listener.address();
  const transport = listener.identity.family === 'udp' ? { transport: 'udp' } : {};
  if (typeof address === 'object' && address !== null) return { ...address, ...transport };
  return { path: listener.identity.path ?? address ?? listener.identity.name };
}
