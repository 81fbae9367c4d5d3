import { dirname, join } from 'node:path';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { Opening } from '../channel/open.js';
import { trackHttp2Sessions } from '../connections/http2-sessions.js';
import { watchPipelining } from '../connections/pipelining.js';
import { countRequests } from '../connections/request-limit.js';
import { ConnectionTracker } from '../connections/tracker.js';
import { asMoultError, MoultError } from '../errors.js';
import type { Estate } from '../handover/estate.js';
import { Predecessor } from '../handover/predecessor.js';
import { Successor } from '../handover/successor.js';
import type { Listener } from '../listeners/listener.js';
import { itemOf, ListenerRegistry } from '../listeners/registry.js';
import { isPlainHttp } from '../node/http1.js';
import { http1Moves } from '../node/self-test.js';
import { wallClockMs } from '../os/clock.js';
import type { DrainReport, GenerationState, ListenerItem, Settings } from '../protocol/messages.js';
import type { StartedBy } from './environment.js';

/** How long the opening of both channels may take. */
const OPENING_TIMEOUT_MS = 15_000;
/** Fewer listeners than the predecessor had are taken for all when no more came for so long. */
const FEWER_LISTENERS_MS = 1000;

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
  #hasSaid = false;
  #isGated: boolean;
  #expectsListeners: boolean;
  #fewerTimer: NodeJS.Timeout | undefined;

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
      const { message: welcome } = lifeline.hear('welcome');
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
    inherit: { epoch: number; listeners: readonly ListenerItem[] },
    descriptors: readonly number[],
    lifeline: Channel,
    giver: Channel | undefined,
  ) {
    this.number = started.generation;
    this.epoch = inherit.epoch;
    this.#settings = settings;
    this.#lifeline = lifeline;
    this.#expectsListeners = inherit.listeners.length > 0;
    this.#isGated = giver !== undefined || this.#expectsListeners;
    this.listeners = new ListenerRegistry(this.#isGated, {
      bound: (listener) => this.#bound(listener),
      claimed: (listener) => this.#listens(listener),
      closed: (listener) => lifeline.send({ type: 'release', name: listener.identity.name }),
    });
    this.listeners.inherit(inherit.listeners, descriptors);
    this.connections = new ConnectionTracker((server) => this.listeners.of(server) !== undefined);
    this.connections.start();
    this.#predecessor = this.#asPredecessor();
    this.#successor = this.#asSuccessor();
    this.#attachLifeline(giver === undefined);
    if (giver !== undefined) this.#successor.attach(giver, true);
    this.#openDoor(join(dirname(started.supervisor), `g${this.number}-${process.pid}.sock`));
    http1Moves().then((result) => {
      this.moves = { http1: result };
      this.#isTested = true;
      this.#checkReady();
    });
  }

  isBeingFed(): boolean {
    return this.#successor.isBeingFed;
  }

  /** The service says that it is ready. */
  said(): void {
    this.#hasSaid = true;
    this.#checkReady();
  }

  #asPredecessor(): Predecessor {
    let successor = 0;
    const lifeline = this.#lifeline;
    lifeline.on('expect', ({ generation, settings }) => {
      try {
        this.#predecessor.expect(generation, settings);
        successor = generation;
        lifeline.send({ type: 'expecting', generation });
      } catch (error) {
        const report = asMoultError(error, 'MOULT_PROTOCOL_ORDER').report();
        lifeline.send({ type: 'expecting', generation, error: report });
      }
    });
    return new Predecessor(this, {
      stage: (stage, facts) =>
        lifeline.send({ type: 'progress', generation: successor, stage, at: wallClockMs(), facts }),
      aborted: (error) => lifeline.send({ type: 'aborted', generation: successor, error: error.report() }),
      undone: (error) => lifeline.send({ type: 'undone', generation: successor, error: error.report() }),
      released: (name) => lifeline.send({ type: 'release', name }),
      drained: (report) => this.#end(report),
    });
  }

  #asSuccessor(): Successor {
    return new Successor(this, {
      committed: () => this.#committed(),
      // The supervisor ends this process.
      aborted: () => {},
      ended: () => this.#predecessor.feedEnded(),
    });
  }

  #attachLifeline(isGiver: boolean): void {
    const lifeline = this.#lifeline;
    // A gated listener does not keep the process alive; the wait for its commit does.
    if (this.#isGated && isGiver) lifeline.ref();
    else lifeline.unref();
    this.#successor.attach(lifeline, false);
    lifeline.on('abort', ({ error }) => this.#predecessor.fail(MoultError.from(error)));
    lifeline.on('confirm', () => this.#predecessor.confirm());
    lifeline.on('retire', ({ timeoutMs }) => this.#predecessor.retire(timeoutMs));
    lifeline.on('ask-state', ({ id }) => lifeline.send({ type: 'state', id, state: this.#describe() }));
  }

  #openDoor(path: string): void {
    Door.open(path, 'predecessor', (channel, hello) => {
      if (hello.role !== 'successor')
        throw new MoultError('MOULT_NOT_EXPECTED', `expected a successor, met ${hello.role}`);
      this.#predecessor.receive(channel, hello);
    }).then(
      (door) => {
        process.once('exit', () => door.close());
        this.#lifeline.send({ type: 'door', path });
      },
      // Without a door this generation serves, but cannot hand over; the supervisor says so at the next restart.
      () => {},
    );
  }

  #bound(listener: Listener): void {
    if (listener.state === 'open') this.#hold(listener);
    this.#listens(listener);
  }

  #listens({ server }: Listener): void {
    trackHttp2Sessions(server);
    if (isPlainHttp(server)) countRequests(server, this.connections);
    else watchPipelining(server);
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
    if (!this.#isGated) this.#committed();
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
    this.#lifeline.send({ type: 'drained', report });
    this.#lifeline.unref();
    this.#successor.unref();
    setImmediate(() => process.kill(process.pid, this.#settings.stopSignal as NodeJS.Signals));
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
