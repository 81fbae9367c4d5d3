/*
 * Over 300 lines: it only ties the rooms together, one short method each; what they do is in the rooms.
 */
import { dirname, join } from 'node:path';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { Opening } from '../channel/open.js';
import { trackHttp2Sessions } from '../connections/http2-sessions.js';
import { watchPipelining } from '../connections/pipelining.js';
import { countRequests } from '../connections/request-limit.js';
import { ResponseCounter } from '../connections/response-counter.js';
import { ConnectionTracker } from '../connections/tracker.js';
import { asMoultError, MoultError } from '../errors.js';
import type { Estate } from '../handover/estate.js';
import { Predecessor } from '../handover/predecessor.js';
import { Successor } from '../handover/successor.js';
import { table } from '../lifecycle/handover.js';
import type { Listener } from '../listeners/listener.js';
import { itemOf, ListenerRegistry } from '../listeners/registry.js';
import { giveToServer, isPlainHttp, requestsInFlight, socketOn } from '../node/http1.js';
import { http1Moves } from '../node/self-test.js';
import { wallClockMs } from '../os/clock.js';
import { closeDescriptor } from '../os/descriptor.js';
import type {
  DrainReport,
  GenerationState,
  ListenerItem,
  Message,
  MessageType,
  Settings,
} from '../protocol/messages.js';
import { DirectOutput } from './direct-output.js';
import type { StartedBy } from './environment.js';
import { rejoin } from './rejoin.js';

/** How long the opening of both channels may take. */
const OPENING_TIMEOUT_MS = 15_000;
/** Fewer listeners than the predecessor had are taken for all when no more came for so long. */
const FEWER_LISTENERS_MS = 1000;
/** The longest time between a signal's being sent to this process and its handlers' hearing of it. */
const SIGNAL_DELIVERY_MS = 1000;

/** The service's process as one generation: what it has, and both ends of its handovers. */
export class Generation implements Estate {
  readonly number: number;
  readonly listeners: ListenerRegistry;
  readonly connections: ConnectionTracker;
  moves: { http1: string } = { http1: 'its self-test is not over' };
  epoch = 0;
  #lifeline: Channel;
  #settings: Settings;
  #predecessor: Predecessor;
  #successor: Successor;
  #startedAt = wallClockMs();
  #isTested = false;
  #counter = new ResponseCounter();
  #hasSaid = false;
  #isGated: boolean;
  #expectsListeners: boolean;
  #fewerTimer: NodeJS.Timeout | undefined;
  #output: DirectOutput;
  readonly #supervisor: string;
  #successorNumber: number | undefined;
  #doorPath: string | undefined;
  #isEnding = false;

  /**
   * Joins the supervisor that started this process, and inherits what the predecessor has; all of it
   * synchronously, because the service is in the middle of its first listen().
   * @returns null when another process of the tree is the service already.
   * @throws whatever the other side refused with.
   */
  static begin(started: StartedBy): Generation | null {
    const lifeline = openLifeline(started);
    if (lifeline === null) return null;
    let giver: Opening | undefined;
    try {
      const { message: welcome, incoming: beside } = lifeline.hear('welcome');
      const output = new DirectOutput(beside.take());
      if (welcome.predecessor !== null) {
        giver = new Opening(
          welcome.predecessor,
          { role: 'successor', generation: started.generation },
          OPENING_TIMEOUT_MS,
        );
      }
      const { message: inherit, incoming } = (giver ?? lifeline).hear('inherit');
      const descriptors = incoming.take();
      if (descriptors.length < inherit.listeners.length) {
        throw new MoultError(
          'MOULT_DESCRIPTORS',
          `expected ${inherit.listeners.length} listeners, this process could open only ${descriptors.length}`,
        );
      }
      return new Generation(
        started,
        welcome.settings,
        output,
        inherit,
        descriptors,
        lifeline.toChannel(),
        giver?.toChannel(),
      );
    } catch (error) {
      giver?.abandon();
      lifeline.abandon();
      if (error instanceof MoultError && error.code === 'MOULT_NOT_EXPECTED') return null;
      throw error;
    }
  }

  private constructor(
    started: StartedBy,
    settings: Settings,
    output: DirectOutput,
    inherit: { epoch: number; listeners: readonly ListenerItem[] },
    descriptors: readonly number[],
    lifeline: Channel,
    giver: Channel | undefined,
  ) {
    this.number = started.generation;
    this.epoch = inherit.epoch;
    this.#settings = settings;
    this.#lifeline = lifeline;
    this.#output = output;
    this.#supervisor = started.supervisor;
    this.#expectsListeners = inherit.listeners.length > 0;
    this.#isGated = giver !== undefined || this.#expectsListeners;
    this.listeners = new ListenerRegistry(this.#isGated, {
      bound: (listener) => this.#bound(listener),
      claimed: (listener) => this.#listens(listener),
      closed: (listener) => this.#lifeline.send({ type: 'release', name: listener.identity.name }),
    });
    this.listeners.inherit(inherit.listeners, descriptors);
    this.connections = new ConnectionTracker((server) => this.listeners.of(server) !== undefined);
    this.connections.start();
    if (settings.countErrors) this.#counter.start();
    this.#predecessor = this.#asPredecessor();
    this.#successor = this.#asSuccessor();
    this.#attach(lifeline);
    // A gated listener does not keep the process alive; the wait for its commit does.
    if (this.#isGated && giver === undefined) lifeline.ref();
    if (giver !== undefined) this.#successor.attach(giver, true);
    this.#openDoor(join(dirname(started.supervisor), `g${this.number}-${process.pid}.sock`));
    http1Moves().then((result) => {
      this.moves = { http1: result };
      this.#isTested = true;
      this.#checkReady();
    });
  }

  isBeingFed(): boolean {
    return this.#successor.isBeingFed || this.#predecessor.isBeingFed;
  }

  /** The service says that it is ready. */
  said(): void {
    this.#hasSaid = true;
    this.#checkReady();
  }

  #asPredecessor(): Predecessor {
    const say = <T extends MessageType>(message: Message<T>) => this.#lifeline.send(message);
    return new Predecessor(this, {
      stage: (stage, facts) =>
        say({ type: 'progress', generation: this.#successorNumber ?? 0, stage, at: wallClockMs(), facts }),
      aborted: (error) =>
        say({ type: 'aborted', generation: this.#successorNumber ?? 0, error: error.report() }),
      undone: (error, alive) =>
        say({ type: 'undone', generation: this.#successorNumber ?? 0, error: error.report(), alive }),
      released: (name) => say({ type: 'release', name }),
      drained: (report) => this.#end(report),
    });
  }

  #asSuccessor(): Successor {
    return new Successor(this, {
      committed: () => this.#committed(),
      handBack: (channel, message) => this.#predecessor.giveBack(channel, message),
      // The supervisor ends this process.
      aborted: () => {},
      ended: () => {
        // The predecessor died before it had committed: the supervisor will, and until then we must live.
        if (this.#isGated) this.#lifeline.ref();
        this.#predecessor.feedEnded();
      },
    });
  }

  #attach(lifeline: Channel): void {
    this.#lifeline = lifeline;
    lifeline.unref();
    this.#successor.attach(lifeline, false);
    lifeline.on('expect', ({ generation, settings }) => this.#expect(generation, settings));
    lifeline.on('abort', ({ error }) => this.#predecessor.fail(MoultError.from(error)));
    lifeline.on('undo', ({ error }) => this.#predecessor.fail(MoultError.from(error)));
    lifeline.on('proceed', ({ generation }) => this.#predecessor.proceed(generation));
    lifeline.on('confirm', () => this.#predecessor.confirm());
    lifeline.on('retire', ({ timeoutMs }) => this.#predecessor.retire(timeoutMs));
    lifeline.on('check-connection', ({ listener }, incoming) => this.#check(listener, incoming.take()));
    lifeline.on('ask-state', ({ id }) => lifeline.send({ type: 'state', id, state: this.#describe() }));
    lifeline.on('direct-output', () => this.#output.begin());
    lifeline.closed.then(() => this.#supervisorLost());
  }

  #expect(generation: number, settings: Settings): void {
    try {
      this.#predecessor.expect(generation, settings);
      this.#successorNumber = generation;
      this.#lifeline.send({ type: 'expecting', generation });
    } catch (error) {
      const report = asMoultError(error, 'MOULT_PROTOCOL_ORDER').report();
      this.#lifeline.send({ type: 'expecting', generation, error: report });
    }
  }

  // The service goes on; a supervisor that comes, or comes back, finds it.
  #supervisorLost(): void {
    this.#output.begin();
    if (this.#isEnding) return;
    rejoin(this.#supervisor, () => ({
      role: 'generation',
      generation: this.number,
      node: process.version,
      rejoin: {
        accepting: this.#successor.isCommitted && table[this.#predecessor.state].accepts === 'predecessor',
        epoch: this.epoch,
        state: this.#predecessor.state,
        successor: this.#successorNumber ?? null,
      },
    })).then(({ channel, output }) => {
      this.#output = new DirectOutput(output);
      this.#attach(channel);
      if (this.#doorPath !== undefined) channel.send({ type: 'door', path: this.#doorPath });
      if (!this.#isGated) for (const listener of this.listeners.own()) this.#hold(listener);
    });
  }

  #openDoor(path: string): void {
    Door.open(path, 'predecessor', (channel, hello) => {
      if (hello.role !== 'successor')
        throw new MoultError('MOULT_NOT_EXPECTED', `expected a successor, met ${hello.role}`);
      this.#predecessor.receive(channel, hello);
    }).then(
      (door) => {
        process.once('exit', () => door.close());
        this.#doorPath = path;
        this.#lifeline.send({ type: 'door', path });
      },
      // Without a door this generation serves, but cannot hand over; the supervisor says so at the next restart.
      () => {},
    );
  }

  // The supervisor speaks to the service as a client would, past the gate.
  #check(name: string | null, [fd, ...surplus]: number[]): void {
    for (const one of surplus) closeDescriptor(one);
    if (fd === undefined) return;
    const listener = name === null ? this.listeners.own()[0] : this.listeners.named(name);
    if (listener === undefined) closeDescriptor(fd);
    else giveToServer(listener.server, socketOn(fd, listener.server));
  }

  #bound(listener: Listener): void {
    if (listener.state === 'open') this.#hold(listener);
    this.#listens(listener);
  }

  #listens(listener: Listener): void {
    const { server } = listener;
    trackHttp2Sessions(server);
    if (isPlainHttp(server)) countRequests(server, this.connections);
    else watchPipelining(server, listener);
    this.#checkReady();
  }

  // The supervisor's copy is what a crash of this process leaves open.
  #hold(listener: Listener): void {
    this.#lifeline.send({ type: 'hold', listener: itemOf(listener) }, [listener.fd]);
  }

  #checkReady(): void {
    clearTimeout(this.#fewerTimer);
    if (!this.#isTested || this.#successor.isReady) return;
    const isComplete = this.#expectsListeners
      ? this.listeners.unclaimed().length === 0
      : this.listeners.own().length > 0;
    if (this.#hasSaid || (isComplete && !this.#settings.waitReady)) this.#ready();
    else if (
      this.#settings.allowFewerListeners &&
      !this.#settings.waitReady &&
      this.listeners.own().length > 0
    ) {
      this.#fewerTimer = setTimeout(() => this.#ready(), FEWER_LISTENERS_MS);
    }
  }

  #ready(): void {
    this.#successor.ready(this.#hasSaid);
    if (!this.#isGated) this.#successor.serveAtOnce();
  }

  #committed(): void {
    this.#lifeline.unref();
    this.listeners.dropUnclaimed();
    if (this.#isGated) for (const listener of this.listeners.own()) this.#hold(listener);
    this.#isGated = false;
    this.#lifeline.send({ type: 'serving', epoch: this.epoch, said: this.#hasSaid });
  }

  // As the service is used to: its own handlers run, and whatever it holds itself is closed by it.
  #end(report: DrainReport): void {
    this.#isEnding = true;
    this.#lifeline.send({ type: 'drained', report });
    this.#lifeline.unref();
    this.#successor.unref();
    const stopSignal = this.#settings.stopSignal as NodeJS.Signals;
    // With nothing left to do the process would end before its own handlers hear of the signal.
    if (process.listenerCount(stopSignal) > 0) {
      const alive = setTimeout(() => {}, SIGNAL_DELIVERY_MS);
      process.once(stopSignal, () => clearTimeout(alive));
    }
    setImmediate(() => process.kill(process.pid, stopSignal));
  }

  #describe(): GenerationState {
    return {
      generation: this.number,
      pid: process.pid,
      state: this.#predecessor.state,
      entry: process.argv[1] ?? '',
      startedAt: this.#startedAt,
      listeners: this.listeners.own().map((listener) => ({
        name: listener.identity.name,
        address: addressOf(listener),
      })),
      connections: this.connections.size,
      inFlight: this.listeners.own().reduce((sum, { server }) => sum + requestsInFlight(server), 0),
      responses: this.#counter.responses,
      errors: this.#counter.errors,
      moves: this.moves,
      memoryBytes: process.memoryUsage.rss(),
    };
  }
}

// A supervisor that is gone must not keep a service from starting: it serves by itself then.
function openLifeline({ supervisor, generation }: StartedBy): Opening | null {
  try {
    const { version: node, argv } = process;
    return new Opening(
      supervisor,
      { role: 'generation', generation, node, entry: argv[1] ?? '' },
      OPENING_TIMEOUT_MS,
    );
  } catch (error) {
    if (!(error instanceof MoultError) || error.code !== 'MOULT_SYSTEM_CALL') throw error;
    process.emitWarning(
      `the supervisor is gone (${error.message}); the service runs without it`,
      'MoultWarning',
    );
    return null;
  }
}

function addressOf(listener: Listener): Record<string, unknown> {
  const address = listener.address();
  if (typeof address === 'object' && address !== null) return { ...address };
  return { path: listener.identity.path ?? address ?? listener.identity.name };
}
