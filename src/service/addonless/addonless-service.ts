import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { Drain } from '../../connections/drain.js';
import { watchPipelining } from '../../connections/http1/pipelining.js';
import { ResponseCounter } from '../../connections/http1/response-counter.js';
import { trackHttp2Sessions } from '../../connections/http2-sessions.js';
import { Measuring } from '../../connections/measuring.js';
import { ConnectionTracker } from '../../connections/tracker.js';
import { giveToServer, requestsInFlight } from '../../node/http/http1.js';
import { probedFromPort } from '../../node/listening/accepted.js';
import { type ListenRequest, markInternal } from '../../node/listening/listen-hook.js';
import { wallClockMs } from '../../os/clock.js';
import { ownResidentBytes } from '../../os/processes/memory.js';
import { MAX_CUT } from '../../protocol/limits.js';
import type { GenerationState, Message, Settings } from '../../protocol/messages.js';
import { askToEnd } from '../ask-to-end.js';
import { passedAtStart, type StartedBy, scrub } from '../environment.js';
import { LookedAt } from '../looked-at.js';
import { AddonlessListeners } from './addonless-listeners.js';
import { MessageLine } from './message-line.js';

/** How long after its last listen() one that may have fewer listeners than its predecessor is ready. */
const FEWER_AFTER_MS = 1000;
/** The first and the longest wait between two tries to reach a supervisor. */
const FIRST_TRY_MS = 100;
const LONGEST_TRY_MS = 1000;

/**
 * A generation whose Node loads no addons, so that it cannot pass descriptors. Its listeners are copied from it by the
 * supervisor, and given to its successor at its start; it stops accepting when that one begins, and drains.
 */
export class AddonlessService {
  readonly #started: StartedBy;
  readonly #listeners: AddonlessListeners;
  readonly #connections: ConnectionTracker;
  readonly #counter = new ResponseCounter();
  readonly #measuring: Measuring;
  readonly #lookedAt: LookedAt;
  readonly #startedAt = wallClockMs();
  #line: MessageLine;
  #settings: Settings | undefined;
  #state: 'serving' | 'expecting' | 'draining' | 'ended' = 'serving';
  #successor: number | undefined;
  #epoch = 0;
  #isCommitted = false;
  #isReady = false;
  #hasSaid = false;
  #hasLived = false;
  #fewer: NodeJS.Timeout | undefined;
  #reach: string | undefined;
  #waitMs = FIRST_TRY_MS;

  constructor(started: StartedBy, env: NodeJS.ProcessEnv) {
    this.#started = started;
    this.#listeners = new AddonlessListeners(passedAtStart(env), {
      opened: (server) => this.#opened(server),
      closed: (name) => this.#line.send({ type: 'release', name }),
      takes: (accepted, name) => this.#lookedAt.takes(accepted, name),
    });
    this.#lookedAt = new LookedAt(this.#listeners, undefined, undefined, probedFromPort);
    this.#connections = new ConnectionTracker((server) => this.#listeners.has(server));
    this.#connections.start();
    this.#measuring = new Measuring(this.#connections);
    // What comes through its supervisor breaks with that one: it is lost, not the service.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
    this.#line = this.#connect();
    // A listener behind its gate does not keep the process alive; the wait for its commit does.
    this.#line.ref();
  }

  /** The names of listeners that are held for it, and on which it does not listen yet. */
  held(): string[] {
    return this.#listeners.unclaimed();
  }

  /** A server of the service is about to listen. @param proceed does what Node would have done. */
  listen(request: ListenRequest, proceed: (path?: string) => void): void {
    this.#listeners.listen(request, proceed);
  }

  /** The service says that it is ready. */
  said(): void {
    this.#hasSaid = true;
    this.#look();
  }

  /** It has lived for as long as one that shows no listener takes to be ready. */
  lives(): void {
    this.#hasLived = true;
    this.#look();
  }

  #connect(rejoins = false): MessageLine {
    const { supervisor, generation } = this.#started;
    const { version: node, argv } = process;
    const line = new MessageLine(supervisor, () => {
      const rejoin = { accepting: this.#state !== 'draining', epoch: this.#epoch, state: this.#state };
      return {
        role: 'generation',
        generation,
        node,
        entry: argv[1] ?? '',
        withoutDescriptors: true,
        ...(rejoins ? { rejoin: { ...rejoin, successor: null } } : {}),
      };
    });
    this.#line = line;
    line.on('refused', () => {
      // Another process of the tree is the service.
      line.off('refused');
      if (this.#settings === undefined) this.#state = 'ended';
      line.close();
    });
    line.on('welcome', (welcome) => this.#welcomed(welcome, rejoins));
    line.on('commit', ({ epoch }) => this.#commit(epoch));
    line.on('expect', ({ generation }) => {
      this.#successor = generation;
      if (this.#state === 'serving') this.#state = 'expecting';
      line.send({ type: 'expecting', generation });
    });
    line.on('abort', ({ error }) => {
      const generation = this.#successor;
      if (this.#state !== 'expecting' || generation === undefined) return;
      this.#state = 'serving';
      line.send({ type: 'aborted', generation, error });
    });
    line.on('retire', ({ timeoutMs }) => this.#retire(timeoutMs));
    line.on('give', () => line.send({ type: 'gave', moved: 0 }));
    line.on('ask-state', ({ id, measure }) => {
      const measures = measure ? { measures: this.#measuring.ask() } : {};
      line.send({ type: 'state', id, state: { ...this.#describe(), ...measures } });
    });
    this.#lookedAt.heed(line);
    line.closed.then(() => this.#lost());
    return line;
  }

  #welcomed({ settings }: Message<'welcome'>, rejoins: boolean): void {
    const isFirst = this.#settings === undefined;
    this.#settings = settings;
    this.#waitMs = FIRST_TRY_MS;
    if (isFirst) {
      scrub(process.env);
      if (settings.countErrors) this.#counter.start();
      if (settings.measures) this.#measuring.startForLife();
    }
    if (rejoins && this.#isCommitted) this.#hold();
    this.#look();
  }

  // Once all that was passed is listened on, or the service says so, where it is to say so.
  #look(): void {
    const settings = this.#settings;
    if (settings === undefined || this.#isReady) return;
    const unclaimed = this.#listeners.unclaimed();
    const expects = settings.expects ?? unclaimed;
    const missing = unclaimed.filter((name) => expects.includes(name));
    clearTimeout(this.#fewer);
    const hasAll = missing.length === 0 && (this.#listeners.size > 0 || this.#hasLived);
    if (settings.waitReady ? !this.#hasSaid : !hasAll && !this.#hasSaid) {
      if (settings.allowFewerListeners && this.#listeners.size > 0)
        this.#fewer = setTimeout(() => this.#ready(), settings.fewerAfterMs ?? FEWER_AFTER_MS);
      this.#tellMissing(missing);
    } else if (missing.length === 0 || settings.allowFewerListeners) this.#ready();
    else this.#tellMissing(missing);
  }

  #tellMissing(names: string[]): void {
    if (names.length > 0) this.#line.send({ type: 'missing', names, opened: this.#listeners.newNames() });
  }

  async #ready(): Promise<void> {
    if (this.#isReady) return;
    this.#isReady = true;
    if (this.#settings?.checked) await this.#openReach();
    const claims = this.#listeners.names().map((name) => ({ name, accepts: [] }));
    const reach = this.#reach === undefined ? {} : { reach: this.#reach };
    this.#line.send({ type: 'ready', claims, said: this.#hasSaid, ...reach });
  }

  // For the health check, which comes past the gate.
  #openReach(): Promise<void> {
    const path = join(dirname(this.#started.supervisor), `g${this.#started.generation}-reach.sock`);
    return new Promise((resolve) => {
      const server = createServer((socket) => {
        const first = this.#listeners.first();
        if (first === undefined) socket.destroy();
        else giveToServer(first, socket);
      });
      markInternal(server);
      // Without it the check says that it cannot reach the service.
      server.once('error', () => resolve());
      server.listen(path, () => {
        this.#reach = path;
        server.unref();
        resolve();
      });
    });
  }

  #commit(epoch: number): void {
    this.#epoch = epoch;
    if (this.#isCommitted) return;
    this.#isCommitted = true;
    this.#listeners.open();
    this.#hold();
    this.#line.send({ type: 'serving', epoch, said: this.#hasSaid });
    this.#line.unref();
  }

  #opened(server: Server): void {
    watchPipelining(server, { meetsPipelining: false });
    trackHttp2Sessions(server);
    if (this.#isCommitted) this.#hold();
    else this.#look();
  }

  #hold(): void {
    for (const { listener, fd } of this.#listeners.toHold()) this.#line.send({ type: 'hold', listener, fd });
  }

  #retire(timeoutMs: number): void {
    if (this.#state === 'draining' || this.#state === 'ended') return;
    this.#state = 'draining';
    const servers = this.#listeners.stop();
    const drain = new Drain(
      this.#connections,
      servers,
      { timeoutMs, spreadMs: this.#settings?.drainSpreadMs ?? 0 },
      () => true,
      () => true,
    );
    this.#line.ref();
    drain.finished.then(() => {
      this.#state = 'ended';
      const { drained, cut } = drain;
      this.#line.send({ type: 'drained', report: { moved: 0, drained, cut: cut.slice(0, MAX_CUT) } });
      this.#line.unref();
      askToEnd((this.#settings?.stopSignal ?? 'SIGTERM') as NodeJS.Signals);
    });
  }

  // The service goes on, and is found again by whoever supervises it next.
  #lost(): void {
    if (this.#settings === undefined || this.#state === 'ended') return;
    if (!this.#isCommitted) {
      // Nobody commits it, or tells it to end.
      this.#state = 'ended';
      this.#line.unref();
      return;
    }
    if (this.#state === 'expecting') this.#state = 'serving';
    // Each line that is lost comes here, also one that was never welcomed.
    setTimeout(() => this.#connect(true), this.#waitMs).unref();
    this.#waitMs = Math.min(this.#waitMs * 1.5, LONGEST_TRY_MS);
  }

  #describe(): GenerationState {
    const servers = this.#connections.servers();
    return {
      generation: this.#started.generation,
      pid: process.pid,
      state: this.#state,
      entry: process.argv[1] ?? '',
      startedAt: this.#startedAt,
      listeners: this.#listeners.described(),
      connections: this.#connections.size,
      inFlight: servers.reduce((sum, server) => sum + requestsInFlight(server), 0),
      responses: this.#counter.responses,
      errors: this.#counter.errors,
      moves: { http1: 'its Node loads no addons: connections drain' },
      memoryBytes: ownResidentBytes(),
    };
  }
}
