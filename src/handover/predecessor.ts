import type { Server, Socket } from 'node:net';
import type { Channel } from '../channel/channel.js';
import { Drain } from '../connections/drain.js';
import { Outflow } from '../connections/outflow.js';
import { asMoultError, MoultError } from '../errors.js';
import { type HandoverState, step, table } from '../lifecycle/handover.js';
import { isPlainHttp } from '../node/http1.js';
import { ProcessHandle } from '../os/peer.js';
import type { DrainReport, Message, Settings } from '../protocol/messages.js';
import type { Estate } from './estate.js';

/** How long a successor may take to open its gates once it is told to. */
const COMMIT_TIMEOUT_MS = 5000;

/** What a predecessor tells of its handover. */
export interface PredecessorEvents {
  /** A stage was reached; facts are for the operator. */
  stage(stage: string, facts: Record<string, unknown>): void;
  /** The handover ended before commit; this generation has served all the time. */
  aborted(error: MoultError): void;
  /** The handover was undone after commit; this generation accepts again. */
  undone(error: MoultError): void;
  /** A listener that the successor did not claim was closed for good. */
  released(name: string): void;
  /** Nothing is left to do here: the service may get its stop signal. */
  drained(report: DrainReport): void;
}

/**
 * The giving end of a handover. It is the one that decides: until it says commit it serves, and when the
 * successor fails afterwards, within probation, it serves again.
 */
export class Predecessor {
  #estate: Estate;
  #events: PredecessorEvents;
  #state: HandoverState = 'serving';
  #settings: Settings | undefined;
  #generation = 0;
  #channel: Channel | undefined;
  #process: ProcessHandle | undefined;
  #timer: NodeJS.Timeout | undefined;
  #claims = new Map<string, readonly string[]>();
  #outflow: Outflow | undefined;
  #drain: Drain | undefined;
  #retireAfterCommitMs: number | undefined;

  constructor(estate: Estate, events: PredecessorEvents) {
    this.#estate = estate;
    this.#events = events;
  }

  get state(): HandoverState {
    return this.#state;
  }

  /** Expects a successor of this number; its time to be ready begins now. @throws MOULT_PROTOCOL_ORDER when one is expected already. */
  expect(generation: number, settings: Settings): void {
    this.#step('expect');
    this.#generation = generation;
    this.#settings = settings;
    this.#timer = setTimeout(() => this.#readyTimeout(), settings.readyTimeoutMs);
  }

  /** A process asks to take over. @throws MOULT_NOT_EXPECTED, MOULT_RESTART_IN_PROGRESS */
  receive(channel: Channel, hello: Message<'hello'>): void {
    if (this.#state !== 'expecting') {
      const code = this.#state === 'serving' ? 'MOULT_NOT_EXPECTED' : 'MOULT_RESTART_IN_PROGRESS';
      throw new MoultError(
        code,
        `generation ${hello.generation ?? '?'} asked to take over while ${this.#state}`,
      );
    }
    if (hello.generation !== this.#generation) {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        `expected generation ${this.#generation}, met ${hello.generation ?? 'none'}`,
      );
    }
    const { items, descriptors } = this.#estate.listeners.describe();
    channel.send({ type: 'inherit', epoch: this.#estate.epoch, listeners: items }, descriptors);
    this.#step('hello');
    this.#channel = channel;
    this.#process = new ProcessHandle(channel.peer.pid);
    channel.ref();
    channel.on('ready', (ready) => this.#ready(ready));
    channel.on('abort', ({ error }) => this.fail(MoultError.from(error)));
    channel.closed.then((reason) => {
      if (this.#channel !== channel) return;
      this.#lost(reason);
    });
    this.#events.stage('inherit', { listeners: items.length });
  }

  /**
   * Ends the handover, at any stage: before commit nothing has changed, within probation it is undone.
   * Once confirmed there is nothing to undo, and nothing happens.
   */
  fail(error: MoultError): void {
    switch (this.#state) {
      case 'expecting':
      case 'inheriting':
      case 'ready':
        this.#abort(error);
        break;
      case 'committing':
      case 'probation':
        this.#undo(error);
        break;
      default:
    }
  }

  /** Ends probation: the successor has proved itself, or the operator has decided. */
  confirm(): void {
    if (this.#state !== 'probation') return;
    this.#step('confirm');
    clearTimeout(this.#timer);
    this.#channel?.send({ type: 'confirm' });
    // What the successor did not claim nobody will: that port closes now.
    for (const listener of this.#estate.listeners.own()) {
      const isClaimed = this.#claims.has(listener.identity.name);
      this.#estate.listeners.release(listener, !isClaimed);
      if (!isClaimed) this.#events.released(listener.identity.name);
    }
    this.#events.stage('confirm', {});
    this.#drain?.check();
  }

  /** Serves what is there to its end, without a successor: the listeners close everywhere. */
  retire(timeoutMs: number): void {
    if (this.#state === 'probation') this.confirm();
    if (this.#state === 'draining' && this.#drain !== undefined) return;
    if (['expecting', 'inheriting', 'ready'].includes(this.#state)) {
      this.#abort(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
    }
    if (this.#state === 'committing') this.#retireAfterCommitMs = timeoutMs;
    if (this.#state !== 'serving') return;
    this.#step('retire');
    const servers = this.#estate.listeners.own().map((listener) => listener.server);
    for (const listener of this.#estate.listeners.own()) {
      listener.pause();
      this.#estate.listeners.release(listener, true);
      this.#events.released(listener.identity.name);
    }
    for (const server of servers) if (isPlainHttp(server)) server.closeIdleConnections();
    this.#beginDrain(timeoutMs, undefined);
  }

  /** Called when connections no longer come from this generation's own predecessor. */
  feedEnded(): void {
    this.#drain?.check();
  }

  #ready({ claims, said }: Message<'ready'>): void {
    if (this.#state !== 'inheriting') return;
    clearTimeout(this.#timer);
    this.#claims = new Map(claims.map(({ name, accepts }) => [name, accepts]));
    this.#step('ready');
    this.#events.stage('ready', { claims: claims.length, said });
    this.#commit();
  }

  // From here to `committed` nobody accepts, and clients wait in the backlog.
  #commit(): void {
    this.#step('commit');
    this.#estate.listeners.pause();
    this.#channel?.on('committed', () => this.#committed());
    this.#channel?.send({ type: 'commit', epoch: this.#estate.epoch + 1 });
    this.#timer = setTimeout(
      () =>
        this.#undo(
          new MoultError(
            'MOULT_COMMIT_FAILED',
            `the successor did not open its gates within ${COMMIT_TIMEOUT_MS} ms`,
          ),
        ),
      COMMIT_TIMEOUT_MS,
    );
  }

  #committed(): void {
    if (this.#state !== 'committing' || this.#channel === undefined || this.#settings === undefined) return;
    clearTimeout(this.#timer);
    this.#step('committed');
    this.#estate.epoch += 1;
    this.#events.stage('commit', {});
    const { listeners, connections } = this.#estate;
    const outflow = new Outflow(this.#channel, connections, (server) => {
      const name = listeners.of(server)?.identity.name;
      const accepts = name === undefined ? undefined : this.#claims.get(name);
      const canMove = this.#estate.moves.http1 === 'yes' && isPlainHttp(server) && accepts?.includes('http1');
      return canMove ? name : undefined;
    });
    this.#outflow = outflow;
    this.#beginDrain(this.#settings.drainTimeoutMs, outflow);
    outflow.settled.then(() => this.#settled(outflow));
    outflow.start();
    this.#timer = setTimeout(() => this.confirm(), this.#settings.probationMs);
    if (this.#retireAfterCommitMs !== undefined) this.confirm();
  }

  #settled(outflow: Outflow): void {
    if (this.#outflow !== outflow) return;
    const pauses = [...outflow.pausesMs].sort((a, b) => a - b);
    this.#events.stage('connections', {
      moved: outflow.moved,
      draining: this.#estate.connections.size,
      longestPauseMs: pauses.at(-1) ?? 0,
      pauseP50Ms: pauses[Math.floor(pauses.length / 2)] ?? 0,
      pauseP99Ms: pauses[Math.floor(pauses.length * 0.99)] ?? 0,
    });
  }

  #beginDrain(timeoutMs: number, outflow: Outflow | undefined): void {
    const servers = this.#estate.listeners.own().map((listener) => listener.server);
    const drain = new Drain(
      this.#estate.connections,
      servers,
      timeoutMs,
      (socket, server) => this.#endsHere(socket, server, outflow),
      () => this.#state === 'draining' && !this.#estate.isBeingFed(),
    );
    this.#drain = drain;
    drain.finished.then(() => {
      if (this.#drain === drain) this.#finish(drain);
    });
  }

  #endsHere(socket: Socket, server: Server, outflow: Outflow | undefined): boolean {
    const isOurs =
      this.#estate.connections.of(socket) !== undefined || this.#estate.listeners.of(server) !== undefined;
    return isOurs && (outflow === undefined || !outflow.canGo(socket));
  }

  #finish(drain: Drain): void {
    this.confirm();
    if (this.#state !== 'draining') return;
    this.#step('drained');
    const moved = this.#outflow?.moved ?? 0;
    this.#outflow?.stop();
    this.#events.drained({
      moved,
      drained: Math.max(0, drain.drained - moved),
      cut: drain.cut.slice(0, 1000),
    });
    this.#forget();
  }

  #abort(error: MoultError): void {
    const told = new MoultError(error.code, error.message, {
      serving: 'predecessor',
      stage: this.#state,
      cause: error,
      ...(error.details === undefined ? {} : { details: error.details }),
    });
    this.#channel?.send({ type: 'abort', error: told.report() });
    this.#step('fail');
    this.#forget();
    this.#events.aborted(told);
  }

  // The successor must be gone before this side accepts: at every moment one of them does, never both.
  #undo(error: MoultError): void {
    const stage = this.#state;
    this.#step('fail');
    this.#process?.kill();
    this.#outflow?.stop();
    this.#drain?.stop();
    this.#drain = undefined;
    this.#outflow = undefined;
    this.#estate.listeners.resume();
    this.#forget();
    this.#events.undone(
      new MoultError(error.code, error.message, { serving: 'predecessor', stage, cause: error }),
    );
    if (this.#retireAfterCommitMs !== undefined) this.retire(this.#retireAfterCommitMs);
  }

  #lost(reason: MoultError | undefined): void {
    this.#outflow?.stop();
    const why = reason === undefined ? 'it closed its connection' : reason.message;
    const after = this.#state === 'committing' || this.#state === 'probation';
    this.fail(
      reason?.code === 'MOULT_PROTOCOL_FRAME' || reason?.code === 'MOULT_PROTOCOL_ORDER'
        ? asMoultError(reason, 'MOULT_PROTOCOL_FRAME')
        : new MoultError(
            after ? 'MOULT_SUCCESSOR_LOST' : 'MOULT_SUCCESSOR_EXITED',
            `the successor was lost while ${this.#state}: ${why}`,
          ),
    );
  }

  #readyTimeout(): void {
    const ms = this.#settings?.readyTimeoutMs;
    const what =
      this.#state === 'expecting'
        ? 'it never listened and never said that it is ready'
        : 'it has not claimed every listener and not said that it is ready';
    this.fail(new MoultError('MOULT_READY_TIMEOUT', `the successor was not ready within ${ms} ms: ${what}`));
  }

  #forget(): void {
    clearTimeout(this.#timer);
    const channel = this.#channel;
    this.#channel = undefined;
    channel?.close();
    this.#process?.close();
    this.#process = undefined;
    this.#claims = new Map();
  }

  #step(event: Parameters<typeof step>[1]): void {
    this.#state = step(this.#state, event);
  }

  /** Who accepts connections now. */
  get accepts(): string {
    return table[this.#state].accepts;
  }
}
