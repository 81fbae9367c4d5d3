import { type Line, localLine } from '../../channel/line.js';
import { MoultError } from '../../errors.js';
import { type HandoverEvent, type HandoverState, next, step } from '../../lifecycle/handover-states.js';
import { wallClockMs } from '../../os/clock.js';
import { Deadline } from '../../os/deadline.js';
import { describeExit, type Exit } from '../../os/processes/process.js';
import type { SocketSet } from '../../programs/socket-set.js';
import type { DrainReport, Message, Settings } from '../../protocol/messages.js';
import type { Lifeline } from '../process/generation-process.js';

/** How many connections that were cut are told of one by one. */
const MAX_CUT_SHOWN = 1000;

/** The generation for which an agent speaks: a program that knows nothing of moult. */
export interface AgentProgram {
  readonly number: number;
  readonly pid: number;
  readonly settings: Settings;
  /** How it ended; undefined while it lives. */
  readonly exit: Exit | undefined;
  readonly exited: Promise<Exit>;
  readonly socketSet: SocketSet;
  /** Whether new connections come to one generation only. */
  readonly hasTurns: boolean;
  readonly hasSaidReady: boolean;
  /** Settles when it can serve; never where it ends before. */
  readonly isReady: Promise<void>;
  /** What it is not ready for want of. */
  readonly waitsFor: string;
  readonly stopSignal: NodeJS.Signals;
  isEnding: boolean;
  /** New connections come to it from now on. @param before to which they went. */
  take(before?: { readonly socketSet: SocketSet }): void;
  /** The peers of its connections. */
  connections(): string[];
  /** Sends the stop signal. */
  stop(): void;
  kill(): void;
  giveUp(): void;
}

/**
 * Speaks with the supervisor for a program that knows nothing of moult, as the service in a Node process does
 * for itself: the same messages, the same states. What differs is that a program accepts as soon as it runs, so
 * that between its start and the end of the other one both accept; and that once told to stop it cannot go on.
 * So the predecessor gets its stop signal when the successor is confirmed, not before.
 */
export class ProgramAgent {
  /** What the supervisor speaks to. */
  readonly lifeline: Lifeline;
  readonly #program: AgentProgram;
  readonly #line: Line;
  #state: HandoverState = 'serving';
  #successor: AgentProgram | undefined;
  #settings: Settings | undefined;
  #limit: Deadline | undefined;
  /** How many connections there were when it was told to stop. */
  #toDrain = 0;
  #cut: DrainReport['cut'] = [];

  constructor(program: AgentProgram) {
    this.#program = program;
    const [ours, theirs] = localLine();
    this.#line = ours;
    this.lifeline = lifelineOf(theirs, program);
    // Whether a later release will say that it is ready is its own affair: --wait-ready decides.
    ours.on('commit', ({ epoch }) => {
      program.take();
      ours.send({ type: 'serving', epoch, said: false });
    });
    ours.on('proceed', ({ generation }) => {
      if (this.#state === 'ready' && generation === this.#successor?.number) this.#commit();
    });
    ours.on('confirm', () => this.#confirm());
    ours.on('abort', ({ error, generation }) => {
      const met = this.#successor?.number;
      if (generation === undefined || met === undefined || met === generation)
        this.#fail(MoultError.from(error));
    });
    ours.on('undo', ({ error }) => this.#fail(MoultError.from(error)));
    ours.on('retire', ({ timeoutMs }) => this.#retire(timeoutMs));
    program.exited.then(() => this.#ended());
  }

  get state(): HandoverState {
    return this.#state;
  }

  /** It has all that it needs to serve. */
  ready(claims: readonly string[]): void {
    const said = this.#program.hasSaidReady;
    this.#line.send({ type: 'ready', claims: claims.map((name) => ({ name, accepts: [] })), said });
  }

  /** A successor will be started. @throws MOULT_RESTART_IN_PROGRESS, MOULT_NOT_SERVING */
  expect(settings: Settings): void {
    if (this.#state !== 'serving') {
      const code = this.#state === 'draining' ? 'MOULT_NOT_SERVING' : 'MOULT_RESTART_IN_PROGRESS';
      throw new MoultError(code, `generation ${this.#program.number} is ${this.#state}`);
    }
    this.#settings = settings;
    this.#step('expect');
  }

  /** The successor has been started. */
  meet(successor: AgentProgram): void {
    if (this.#state !== 'expecting') return;
    this.#step('hello');
    this.#successor = successor;
    const { readyTimeoutMs } = successor.settings;
    this.#stage('inherit', { listeners: successor.socketSet.sockets.length, overlaps: !successor.hasTurns });
    this.#limit = new Deadline(readyTimeoutMs, () => {
      const what = `the successor was not ready within ${readyTimeoutMs} ms: ${successor.waitsFor}`;
      this.#fail(new MoultError('MOULT_READY_TIMEOUT', what));
    });
    successor.isReady.then(() => this.#successorReady(successor)).catch(() => {});
    // Clients wait with the one that will come, not with the one that is gone.
    this.#program.exited.then(() => {
      if (successor.exit === undefined && this.#successor === successor) successor.take();
    });
    successor.exited.then((exit) => {
      const what = `the successor ${describeExit(exit)} before its probation was over`;
      // Before commit the supervisor says so itself.
      if (this.#successor === successor && this.#state === 'probation')
        this.#fail(new MoultError('MOULT_SUCCESSOR_LOST', what));
    });
  }

  /** It is not wanted after all: what it has accepted it finishes. */
  giveUp(): void {
    if (this.#state === 'serving') this.#drain('give-back', this.#program.settings.drainTimeoutMs);
    else this.#retire(this.#program.settings.drainTimeoutMs);
  }

  #successorReady(successor: AgentProgram): void {
    if (this.#successor !== successor || this.#state !== 'inheriting') return;
    this.#limit?.clear();
    this.#step('ready');
    this.#stage('ready', { claims: successor.socketSet.sockets.length, said: successor.hasSaidReady });
    if (this.#settings?.checked !== true) this.#commit();
  }

  // Both accept by now: to commit is to decide which of them stays.
  #commit(): void {
    this.#step('commit');
    this.#step('committed');
    this.#successor?.take(this.#program);
    this.#stage('commit', { overlaps: !this.#program.hasTurns });
    this.#stage('connections', { draining: this.#program.connections().length });
    this.#limit = new Deadline(this.#settings?.probationMs ?? 0, () => this.#confirm());
  }

  #confirm(): void {
    if (this.#state !== 'probation') return;
    this.#limit?.clear();
    this.#stage('confirm', {});
    this.#drain('confirm', this.#settings?.drainTimeoutMs ?? 0);
  }

  #fail(error: MoultError): void {
    const successor = this.#successor;
    const wasInProbation = this.#state === 'probation';
    if (next(this.#state, 'fail') === undefined) return;
    this.#limit?.clear();
    this.#step('fail');
    if (wasInProbation) {
      this.#program.take(successor);
      this.#step('resume');
    }
    this.#successor = undefined;
    if (successor === undefined) return;
    const generation = successor.number;
    const alive = successor.exit === undefined;
    if (!alive && !wasInProbation) {
      this.#line.send({ type: 'aborted', generation, error: error.report() });
      return;
    }
    // Clients may have reached it, whatever it was: it is not killed while it lives.
    this.#line.send({ type: 'undone', generation, error: error.report(), alive });
    successor.giveUp();
  }

  #retire(timeoutMs: number): void {
    this.#fail(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
    if (this.#state === 'serving') this.#drain('retire', timeoutMs);
  }

  #drain(event: HandoverEvent, timeoutMs: number): void {
    this.#step(event);
    const program = this.#program;
    this.#toDrain = program.connections().length;
    program.isEnding = true;
    program.stop();
    const beganMs = wallClockMs();
    this.#limit = new Deadline(timeoutMs, () => {
      const reason = `its program did not exit within ${timeoutMs} ms of ${program.stopSignal}`;
      const ageMs = wallClockMs() - beganMs;
      this.#cut = program
        .connections()
        .slice(0, MAX_CUT_SHOWN)
        .map((peer) => ({ peer, ageMs, reason }));
      program.kill();
    });
  }

  #ended(): void {
    this.#limit?.clear();
    if (this.#state !== 'draining') return;
    this.#step('drained');
    const drained = Math.max(0, this.#toDrain - this.#cut.length);
    this.#line.send({ type: 'drained', report: { moved: 0, drained, cut: this.#cut } });
  }

  #stage(stage: string, facts: Record<string, unknown>): void {
    const generation = this.#successor?.number ?? 0;
    this.#line.send({ type: 'progress', generation, stage, at: wallClockMs(), facts });
  }

  #step(event: HandoverEvent): void {
    this.#state = step(this.#state, event);
  }
}

/** The end of a local line for the supervisor: closed once the program has ended. */
function lifelineOf(line: Line, program: AgentProgram): Lifeline {
  let isClosed = false;
  return {
    closed: program.exited.then(() => undefined),
    get isClosed() {
      return isClosed;
    },
    takesParts: true,
    peer: { pid: program.pid },
    on: (type, handler) => line.on(type, handler),
    off: (type) => line.off(type),
    send: <T extends Message['type']>(message: Message<T>, descriptors?: readonly number[]) => {
      if (!isClosed) line.send(message, descriptors);
    },
    ref: () => {},
    unref: () => {},
    close: () => {
      isClosed = true;
    },
  };
}
