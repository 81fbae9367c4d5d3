/*
 * Over 300 lines: a restart of a service that is its own supervisor, from the start of the process to the report, in the
 * order in which it happens.
 */
import type { Channel } from '../channel/channel.js';
import type { Visitor } from '../channel/door.js';
import { type Line, localLine } from '../channel/line.js';
import { asMoultError, MoultError } from '../errors.js';
import type { RestartSummary, StageEvent } from '../lifecycle/restart-record.js';
import { epochAfter } from '../os/clock.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { signal } from '../os/processes/process.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import { isListening } from '../os/unix-sockets/unix-socket.js';
import type { Settings } from '../protocol/messages.js';
import type { Overseer } from '../service/overseer/overseer.js';
import type { ServiceManagerLink } from '../service-manager/service-manager.js';
import { PidFile } from './pid-file.js';
import { PublicDoor } from './public-door.js';
import { type StandaloneOptions, settingsOf } from './standalone-options.js';
import { StandaloneRestart } from './standalone-restart.js';
import { type SuccessorProcess, startSuccessor, strangeSuccessor } from './successor-process.js';

/** How long this process may take to open the socket at which it receives successors. */
const DOOR_TIMEOUT_MS = 5000;
/** How long a predecessor whose channel has closed may take to be gone. */
const GONE_TIMEOUT_MS = 5000;
const LOOK_MS = 10;

/** Of what a self-overseer tells. */
export interface SelfEvents {
  stage(event: StageEvent): void;
}

/** Oversees the generation that this process is: starts its successors itself, where there is no supervisor. */
export class SelfOverseer implements Overseer {
  readonly lifeline: Line;
  readonly folder: string;
  readonly isFolderOfService = false;
  readonly #line: Line;
  readonly #number: number;
  readonly #options: StandaloneOptions;
  readonly #events: SelfEvents;
  readonly #manager: ServiceManagerLink;
  readonly #pidFile: PidFile | undefined;
  #isConfirmed = false;
  #mayEnd = Promise.resolve();
  #lastNumber: number;
  #publicDoor: PublicDoor | undefined;
  #predecessor: ProcessHandle | undefined;
  #predecessorDoor = '';
  #epoch = 0;
  #isReady = false;
  #isServing = false;
  #isAlone: boolean;
  #attempt: StandaloneRestart | undefined;
  #running: Promise<RestartSummary> | undefined;
  #following: Promise<RestartSummary> | undefined;
  #door: Promise<string>;

  /**
   * @param folder the private one for the socket.
   * @param hasPredecessor whether this generation takes over from another process.
   * @param manager that started the unit of which this service is.
   */
  constructor(
    number: number,
    folder: string,
    options: StandaloneOptions,
    hasPredecessor: boolean,
    manager: ServiceManagerLink,
    events: SelfEvents,
  ) {
    this.#number = number;
    this.#lastNumber = number;
    this.folder = folder;
    this.#options = options;
    this.#isAlone = !hasPredecessor;
    this.#manager = manager;
    this.#events = events;
    const [line, lifeline] = localLine();
    this.#line = line;
    this.lifeline = lifeline;
    if (options.pidFile !== null) {
      const file = new PidFile(options.pidFile);
      this.#pidFile = file;
      process.once('exit', () => file.remove());
    }
    this.#door = new Promise((resolve) => line.on('door', ({ path }) => resolve(path)));
    line.on('ready', () => {
      this.#isReady = true;
      this.#commitIfAlone();
    });
    line.on('serving', ({ epoch }) => this.#serves(epoch));
    line.on('progress', ({ stage, facts }) => this.#progress(stage, facts));
    line.on('hold', ({ listener }, incoming) => {
      if (!manager.keepsListeners) return;
      const [fd] = incoming.take();
      if (fd === undefined) {
        const what = 'this process has no descriptors left';
        process.emitWarning(`${listener.name} is not stored: ${what}`, 'MoultWarning');
        return;
      }
      manager.store?.keep(listener, fd);
      closeDescriptor(fd);
    });
    line.on('release', ({ name }) => manager.store?.drop(name));
    line.on('aborted', ({ error }) => this.#failed(MoultError.from(error), false));
    line.on('undone', ({ error, alive }) => this.#failed(MoultError.from(error), alive));
    line.on('drained', () => this.#drained());
  }

  /** From whom this generation takes over. @param door the path at which it was found. */
  succeeds(predecessorPid: number, door: string, epoch: number): void {
    this.#predecessor = new ProcessHandle(predecessorPid);
    this.#predecessorDoor = door;
    this.#epoch = epoch;
  }

  receive(visit: Visitor): void {
    if (this.#options.door !== null) this.#publicDoor = new PublicDoor(this.#options.door, visit);
  }

  admit(stranger: Channel): { number: number; settings: Settings } {
    this.#assertServes();
    if (this.#running !== undefined) {
      const what = `generation ${this.#attempt?.number ?? this.#lastNumber} is just taking over`;
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', what);
    }
    const number = ++this.#lastNumber;
    const attempt = this.#try(number, strangeSuccessor(stranger));
    const running = attempt.done.finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    // Nobody here has asked for it; what becomes of it is told by events.
    running.catch(() => {});
    this.#running = running;
    return { number, settings: settingsOf(this.#options) };
  }

  /**
   * Starts a successor and hands over to it. One that is asked for during another follows it.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws MOULT_NOT_SERVING; any code of a handover, and then this generation serves on.
   */
  restart(): Promise<RestartSummary> {
    if (this.#running !== undefined) {
      const next = () => this.restart();
      this.#following ??= this.#running.then(next, next).finally(() => {
        this.#following = undefined;
      });
      return this.#following;
    }
    try {
      this.#assertServes();
    } catch (error) {
      return Promise.reject(error);
    }
    const serves = () => this.#servesStatus();
    this.#running = this.#manager
      .reload(() => this.#begin(), serves)
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** As {@link restart}; a process that has handed over passes the signal on to its successor. */
  restartBySignal(name: NodeJS.Signals): Promise<RestartSummary | undefined> {
    const attempt = this.#attempt;
    if (attempt?.isSettled && attempt.hasCommitted) {
      // A process without a number here cannot be signalled.
      if (attempt.pid > 0) signal(attempt.pid, name);
      return Promise.resolve(undefined);
    }
    return this.restart();
  }

  get mayEnd(): Promise<void> {
    return this.#mayEnd;
  }

  retires(): boolean {
    this.#manager.stopping();
    return this.#manager.keepsListeners;
  }

  passOnStop(): boolean {
    const heir = this.#attempt;
    if (!heir?.hasCommitted) return false;
    // Once confirmed it is none of this process's affair, which finishes what it has.
    if (this.#isConfirmed) return true;
    // A stranger goes on: only this process is to stop.
    if (!heir.isOwn) {
      this.#line.send({ type: 'confirm' });
      return true;
    }
    // A manager that stops the unit kills the rest of it when the main process has ended.
    this.#endsAfter(heir.exited.then(() => {}));
    this.#line.send({ type: 'confirm', retire: true });
    return true;
  }

  accepts(): void {
    this.#publicDoor?.show();
    try {
      this.#pidFile?.write();
    } catch (cause) {
      const { message } = asMoultError(cause, 'MOULT_SYSTEM_CALL');
      process.emitWarning(`the PID file cannot be written: ${message}`, 'MoultWarning');
    }
  }

  predecessorEnded(): void {
    if (this.#isServing || this.#isAlone) return;
    const deadlineMs = performance.now() + GONE_TIMEOUT_MS;
    const look = setInterval(() => {
      const isGone = this.#isPredecessorGone();
      if (!isGone && performance.now() < deadlineMs) return;
      clearInterval(look);
      if (isGone) {
        this.#isAlone = true;
        this.#commitIfAlone();
        return;
      }
      const what = 'the predecessor closed the handover, but still runs';
      this.aborted(new MoultError('MOULT_HANDOVER_ABORTED', what, { serving: 'predecessor' }));
    }, LOOK_MS);
  }

  #isPredecessorGone(): boolean {
    if (this.#predecessor === undefined) return false;
    return this.#predecessor.isKnown ? this.#predecessor.hasEnded() : !isListening(this.#predecessorDoor);
  }

  #assertServes(): void {
    const attempt = this.#attempt;
    if (this.#isServing && !attempt?.hasCommitted) return;
    const why =
      attempt === undefined
        ? `generation ${this.#number} has not taken over yet`
        : `generation ${attempt.number} (process ${attempt.pid}) has taken over: send the request to that one`;
    throw new MoultError('MOULT_NOT_SERVING', why);
  }

  // The predecessor ends its own child; this is for one that cannot, and for strangers.
  aborted(error: MoultError): void {
    process.emitWarning(`${error.message} (${error.code}); generation ${this.#number} exits`, 'MoultWarning');
    setImmediate(() => process.kill(process.pid, this.#options.stopSignal));
  }

  // Its output has always been its own.
  releaseOutput(): void {}

  // A line within the process is never lost.
  next(): void {}

  async #begin(): Promise<RestartSummary> {
    const number = ++this.#lastNumber;
    const door = await this.#expect(number);
    return this.#try(number, startSuccessor(this.#options, door, number)).done;
  }

  #try(number: number, successor: SuccessorProcess): StandaloneRestart {
    this.#attempt = new StandaloneRestart({
      number,
      predecessor: this.#number,
      successor,
      options: this.#options,
      line: this.#line,
      onStage: (event) => {
        this.#manager.stage(event);
        this.#events.stage(event);
      },
    });
    return this.#attempt;
  }

  // Its own generation is told first: a successor that nobody expects is refused.
  async #expect(number: number): Promise<string> {
    const door = await within(this.#door, DOOR_TIMEOUT_MS, 'this process could not open a socket for it');
    const answer = new Promise<void>((resolve, reject) => {
      this.#line.on('expecting', ({ error }) =>
        error === undefined ? resolve() : reject(MoultError.from(error)),
      );
    });
    this.#line.send({ type: 'expect', generation: number, settings: settingsOf(this.#options) });
    await answer;
    return door;
  }

  #progress(stage: string, facts: Record<string, unknown>): void {
    this.#attempt?.stage(stage, facts);
    // Not before: while this one may have to resume, its successor's end must not be the end of the unit.
    if (stage === 'confirm' && this.#attempt !== undefined) {
      this.#isConfirmed = true;
      if (this.#attempt.isOwn) this.#endsAfter(this.#manager.handOver(this.#attempt.pid));
      else this.#manager.stopping();
    }
  }

  #endsAfter(more: Promise<void>): void {
    this.#mayEnd = Promise.all([this.#mayEnd, more]).then(() => {});
  }

  #servesStatus(): string {
    const heir = this.#attempt?.hasCommitted ? this.#attempt : undefined;
    return `generation ${heir?.number ?? this.#number} serves (process ${heir?.pid ?? process.pid})`;
  }

  // Where nobody else could give the commit.
  #commitIfAlone(): void {
    if (!this.#isReady || !this.#isAlone || this.#isServing) return;
    this.#line.send({ type: 'commit', epoch: epochAfter(this.#epoch) });
  }

  #serves(epoch: number): void {
    this.#isServing = true;
    this.#epoch = epoch;
    // It answers by being asked: what hangs does not.
    this.#manager.serving(this.#servesStatus(), async () => true);
    this.#predecessor?.close();
    this.#predecessor = undefined;
  }

  #failed(error: MoultError, alive: boolean): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.fail(error, alive);
    if (attempt?.isSettled) this.#manager.tell(`${error.message} (${error.code}); ${this.#servesStatus()}`);
  }

  // A service that does not heed its stop signal must not stay for ever.
  #drained(): void {
    // A process that a signal ends hears of no exit.
    this.#pidFile?.remove();
    this.#publicDoor?.withdraw();
    setTimeout(() => process.exit(1), this.#options.stopTimeoutMs).unref();
  }
}

function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new MoultError('MOULT_PEER_TIMEOUT', what)), ms);
    promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    }, reject);
  });
}
