/*
 * Over 300 lines: one process from its start to its end; what is asked of it while it runs is in service-
 * questions.ts.
 */
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { DoorReplacement } from '../../channel/door-replacement.js';
import type { Line } from '../../channel/line.js';
import { asMoultError, MoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import { Deadline } from '../../os/deadline.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import { type Exit, hasEnded, signal, startTicks } from '../../os/processes/process.js';
import { streamSocketPair } from '../../os/sockets/descriptor-socket.js';
import type { PeerCredentials } from '../../os/unix-sockets/peer.js';
import type { DrainReport, GenerationState, Measures, Message, Settings } from '../../protocol/messages.js';
import type { StartedBy } from '../../service/environment.js';
import { tellingLine } from '../output/telling-line.js';
import type { Release } from '../releases/release.js';
import { killTree, type Outputs, type ProcessTree, startTree, startTreeWith } from './process-tree.js';
import type { ServiceFiles } from './service-files.js';
import { type LookAnswer, ServiceQuestions, type StateQuestion } from './service-questions.js';
import { type AtStart, launchOf, passedListeners } from './start-facts.js';

/** How long what one said before its end may take to be read, where its end is heard of first. */
const LAST_WORDS_MS = 250;
/** What one wrote earlier does not say why it ended: Node itself may have said that, past what is kept. */
const LAST_LINES_MS = 30_000;

/** The channel to a service, or what stands for one where the service has none. */
export interface Lifeline extends Line {
  readonly peer: Pick<PeerCredentials, 'pid'>;
  close(): void;
}

/** One generation as the supervisor sees it: the process tree, and the channel to the service in it. */
export class GenerationProcess {
  readonly number: number;
  release: Release;
  readonly settings: Settings;
  readonly tree: ProcessTree;
  readonly startedAt = wallClockMs();
  exit: Exit | undefined;
  /** The channel to the service, once it has shown itself. */
  lifeline: Lifeline | undefined;
  /** What its service runs, once it has said so. */
  entry: string | undefined;
  /** The socket at which it receives a successor. */
  door: string | undefined;
  /** Called when it has told where it receives others. */
  onDoor: () => void = () => {};
  /** Settles when it has begun to accept under this supervisor. */
  readonly serves: Promise<void>;
  /** Settles when it has nothing left to do, with what became of its connections; with nothing when it ended without telling. */
  readonly drained: Promise<DrainReport | undefined>;
  /** The listeners that it claimed, once it is ready. */
  claims: ReadonlySet<string> | undefined;
  /** Those of them that it does not listen on yet, and that are held for it. */
  late: Set<string> | undefined;
  /** What it said last that it is not ready for want of. */
  missing: Omit<Message<'missing'>, 'type'> | undefined;
  /** Whether it was started because nobody served. */
  isRevived = false;
  /** The one that has ended, where it was started because of that. */
  revives: GenerationProcess | undefined;
  /** What it said last that it has measured. */
  measures: Measures | undefined;
  /** Whether its end is asked for, and no crash. */
  isEnding = false;
  /** Whether it came back beside another that serves: it ends, and what it listens on is not the service's. */
  isSecond = false;
  /** The lines of its output that are kept from this moment on, in milliseconds since 1970. */
  keptSince: (ms: number) => string[] = () => [];
  /** The run folder of its supervisor. */
  runFolder: string | undefined;
  /** Whether an earlier supervisor has started it: then it comes here by itself, in its own time. */
  isAdopted = false;
  /** Whether it served under an earlier supervisor. */
  hadServed = false;
  /** Whether it was confirmed: a crash or a rollback may come back to its release. */
  isProved = false;
  /** Whether its predecessor was told to take the service back. */
  isUndone = false;
  /** Whether its predecessor does not answer: its listeners come from the supervisor, which ends that one when it is ready. */
  isForced = false;
  /** Whether it neither sends nor takes descriptors: its Node loads no addons. */
  isAddonless = false;
  /** The socket at which one without descriptors is reached past its gate. */
  reachPath: string | undefined;
  /** Whether it may be told of those that serve in other slots. */
  sharesBroadcasts = false;
  /** Whether other processes of its tree may join it. */
  takesMembers = false;
  /** Whether it can be told to write to another output. */
  takesOutput = false;
  /** Whether it takes a socket in the place of its own that was removed. */
  takesDoor = false;
  /** Whether it can be told that a stop was asked for. */
  hearsStopping = false;
  /** The generation from which it takes over, or took over. */
  predecessor: GenerationProcess | undefined;
  /** What a predecessor that ended in this one's probation listened on: it must be there at its end. */
  inherited: ReadonlySet<string> = new Set();
  /** When the service's process was started, as the kernel counts. */
  #serviceTicks: number | undefined;
  #servingSince: number | undefined;
  #endedAt: number | undefined;
  #served!: () => void;
  #told!: (report: DrainReport | undefined) => void;
  /** Whether the last look from outside has found it, when, and, where not, what clients find. */
  found: { readonly isThere: boolean; readonly instead?: string; readonly atMs?: number } = {
    isThere: false,
  };
  /** Whether it can tell connections of looks from those of clients. */
  looks = false;
  readonly #questions = new ServiceQuestions(this);
  /** Replaces the socket at which it receives a successor, where that was removed. */
  readonly doorReplacement = new DoorReplacement(this, (path, fd, timeoutMs) =>
    this.#questions.takeDoor(path, fd, timeoutMs),
  );

  constructor(number: number, release: Release, settings: Settings, tree: ProcessTree) {
    this.number = number;
    this.release = release;
    this.settings = settings;
    this.tree = tree;
    this.serves = new Promise((resolve) => {
      this.#served = resolve;
    });
    this.drained = new Promise((resolve) => {
      this.#told = resolve;
    });
    tree.exited.then(async (exit) => {
      this.exit = exit;
      this.#endedAt = wallClockMs();
      await this.hasSaidAll();
      this.#told(undefined);
    });
  }

  /** Starts a generation. @param atStart the listeners that it gets at its start, where it can get none later. */
  static start(
    number: number,
    release: Release,
    settings: Settings,
    around: Omit<StartedBy, 'generation'>,
    outputs: Outputs,
    files: ServiceFiles,
    atStart?: AtStart,
  ): GenerationProcess {
    const passed = atStart === undefined ? [] : passedListeners(atStart);
    const launch = launchOf(release, { ...around, generation: number }, files, passed);
    const tree =
      atStart === undefined
        ? startTree(launch, outputs, outputs.keep?.(number))
        : startTreeWith(
            launch,
            passed.map(({ fd }) => fd),
          );
    return new GenerationProcess(number, release, settings, tree);
  }

  /** Whether it is this supervisor's, to be signalled and ended by it. */
  get isOurs(): boolean {
    return true;
  }

  /** Settles when the process that was started has ended. */
  get exited(): Promise<Exit> {
    return this.tree.exited;
  }

  /** Whether it is ended in time by what stands for it, and not by who watches over the others. */
  get endsInTime(): boolean {
    return false;
  }

  /** The process that was started; the service may be one below it. */
  get pid(): number {
    return this.tree.pid;
  }

  /** The process of the service itself, as the kernel names it. */
  get servicePid(): number {
    // A peer of another namespace of processes has the number 0 here.
    return this.lifeline?.peer.pid || this.pid;
  }

  /** Milliseconds since 1970 when it began to accept; undefined before. */
  get servingSince(): number | undefined {
    return this.#servingSince;
  }

  /** What it wrote last: of one that has served and ended in the seconds before its end, as far as that is kept. */
  get lastLines(): string[] {
    if (this.#servingSince === undefined) return this.tree.output.lines();
    return this.keptSince(this.#endedAt === undefined ? this.startedAt : this.#endedAt - LAST_LINES_MS);
  }

  /** The line of those that says most of how it ended. */
  get lastLine(): string | undefined {
    return tellingLine(this.lastLines);
  }

  /** It accepts from now on. */
  beginToServe(): void {
    this.hasServed();
    this.#served();
  }

  /** It has nothing left to do. */
  hasDrained(report: DrainReport): void {
    this.#told(report);
  }

  /** It has accepted at some time before now. */
  hasServed(): void {
    this.#servingSince ??= wallClockMs();
  }

  /** The predecessor, while it lives. */
  get livingPredecessor(): GenerationProcess | undefined {
    return this.predecessor?.exit === undefined ? this.predecessor : undefined;
  }

  /** Whether the service can be spoken to. */
  get isReachable(): boolean {
    return this.lifeline !== undefined && !this.lifeline.isClosed;
  }

  /** Whether the service's process has ended, as far as that can be known here. */
  get hasLostService(): boolean {
    const isClosed = this.lifeline?.isClosed === true;
    return isClosed && this.#serviceTicks !== undefined && hasEnded(this.servicePid, this.#serviceTicks);
  }

  /**
   * Of one that has ended: settles when all that it has said is heard, behind which its channel ends. Node collects all processes
   * that have ended when it hears of any, and then has not read yet what this one wrote last.
   */
  async hasSaidAll(): Promise<void> {
    const { lifeline } = this;
    if (lifeline === undefined || lifeline.isClosed) return;
    await new Promise<void>((resolve) => {
      const limit = new Deadline(LAST_WORDS_MS, resolve);
      lifeline.closed.then(() => {
        limit.clear();
        resolve();
      });
    });
  }

  /** Signals the service. */
  signalService(name: NodeJS.Signals): void {
    if (this.exit === undefined) signal(this.servicePid, name);
  }

  /** Ends the whole process tree at once. */
  kill(): void {
    killTree(this.tree);
  }

  /** It has failed, and is to end: at once, unless clients may have reached it. */
  giveUp(): void {
    this.kill();
  }

  /**
   * A connection to the service that no client made, past its gate.
   * @param _withinMs for a service that may take its time.
   * @throws Error when it cannot be reached.
   */
  async reach(_withinMs: number): Promise<Socket> {
    if (this.lifeline === undefined || this.lifeline.isClosed)
      throw new Error('it has no connection to its supervisor');
    if (this.isAddonless) return this.#reachByPath();
    const [ours, theirs] = streamSocketPair();
    this.lifeline.send({ type: 'check-connection', listener: null }, [theirs]);
    closeDescriptor(theirs);
    return new Socket({ fd: ours, readable: true, writable: true });
  }

  async #reachByPath(): Promise<Socket> {
    const { reachPath } = this;
    if (reachPath === undefined)
      throw new Error('its Node loads no addons, and it could not listen for the health check');
    const socket = connect(reachPath);
    // Until the check listens itself.
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  /** The service has shown itself: from now on it is reached through this channel. */
  attach(lifeline: Lifeline): void {
    this.lifeline = lifeline;
    this.#serviceTicks = startTicks(lifeline.peer.pid);
    this.#questions.heed(lifeline);
    lifeline.on('door', ({ path, looks }) => {
      this.door = path;
      this.looks = looks === true;
      this.#questions.toldDoor();
      this.onDoor();
    });
  }

  /** The process that has shown itself was not the service: another one of its tree is. */
  detach(): void {
    this.lifeline = undefined;
    this.#serviceTicks = undefined;
    this.door = undefined;
    this.missing = undefined;
  }

  /** What the service tells of itself. @param measure whether it is to measure, and tell of that, too. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT */
  state(timeoutMs: number, measure = false): Promise<GenerationState> {
    return this.#state(timeoutMs, measure ? { measure } : {});
  }

  /** What the service has declared and only a successor gets, and what another slot takes; nothing where an older moult does not say. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT */
  async declared(timeoutMs: number): Promise<Required<Pick<GenerationState, 'declared' | 'passable'>>> {
    const { declared = [], passable = [] } = await this.#state(timeoutMs, { declared: true });
    return { declared, passable };
  }

  async #state(timeoutMs: number, wanted: StateQuestion): Promise<GenerationState> {
    const state = await this.#questions.state(timeoutMs, wanted);
    this.measures = state.measures ?? this.measures;
    return state;
  }

  /** Where other processes of its tree join it; null where they cannot. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT */
  async membersDoor(timeoutMs: number): Promise<string | null> {
    return this.takesMembers ? this.#questions.membersDoor(timeoutMs) : null;
  }

  /**
   * Announces connections that are no client's, in place of those that were announced for the same look.
   * @param seen is called with the name of each listener at which one was accepted.
   * @returns what it listens on. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT
   */
  look(
    probes: Message<'look'>['probes'],
    seen: (listener: string) => void,
    timeoutMs: number,
  ): Promise<LookAnswer> {
    return this.#questions.look(probes, seen, timeoutMs);
  }

  /** None of them comes any more. */
  lookIsOver(): void {
    this.#questions.lookIsOver();
  }

  /**
   * Has it write to this process's standard output and error as they are now, from its next line on.
   * @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT
   */
  renewOutput(timeoutMs: number): Promise<void> {
    return this.#questions.renewOutput(timeoutMs);
  }

  /** Has it give so many connections to the one behind this door. @returns how many have moved. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT */
  give(door: string, count: number, timeoutMs: number): Promise<number> {
    return this.#questions.give(door, count, timeoutMs);
  }

  /**
   * Has it expect a successor. One that does not answer in time is told at once that nobody comes: it may answer yet.
   * @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT, MOULT_PROTOCOL_ORDER; nothing has changed then. After a time-out the
   *   number may not be used again: the answer to it may still come.
   */
  async expect(generation: number, settings: Settings, timeoutMs: number): Promise<void> {
    const refusal = await this.#questions
      .expect(generation, settings, timeoutMs)
      .catch((error: MoultError) => {
        if (error.code === 'MOULT_PEER_TIMEOUT') this.expectNoMore(generation, error);
        throw error;
      });
    if (refusal !== undefined) throw MoultError.from(refusal);
    // One that has just come back tells of its door before it answers.
    if (this.isAddonless) return;
    try {
      if (this.door === undefined) {
        const what = `generation ${this.number} has no socket for a handover`;
        throw new MoultError('MOULT_PEER_CLOSED', what);
      }
      if (this.doorReplacement.isNeeded) await this.doorReplacement.make(timeoutMs);
    } catch (error) {
      const told = asMoultError(error, 'MOULT_SYSTEM_CALL');
      this.lifeline?.send({ type: 'abort', error: told.report() });
      throw told;
    }
  }

  /** It was told to expect this one, or may yet hear so: it does not come. */
  expectNoMore(generation: number, error: MoultError): void {
    this.lifeline?.send({ type: 'abort', error: error.report(), generation });
  }
}
