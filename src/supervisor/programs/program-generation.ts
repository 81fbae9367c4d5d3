import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { MoultError } from '../../errors.js';
import { readOutputOf } from '../../os/processes/launch.js';
import { residentBytes, treeOf } from '../../os/processes/proc-tree.js';
import { socketIdentity } from '../../os/sockets/socket-identity.js';
import { connectionsOf } from '../../programs/connections.js';
import { NotifySocket } from '../../programs/notify-socket.js';
import type { ProgramSocket, SocketSet } from '../../programs/socket-set.js';
import { startProgram } from '../../programs/start.js';
import type { GenerationState, Settings } from '../../protocol/messages.js';
import { GenerationProcess } from '../process/generation-process.js';
import { type Outputs, type ProcessTree, passOn, treeOf as processTreeOf } from '../process/process-tree.js';
import type { Release } from '../releases/release.js';
import { type AgentProgram, ProgramAgent } from './program-agent.js';

const WHY_NOT_MOVED = 'it is a program that does not use moult';

/** How programs are started, and known to be ready. Times in milliseconds. */
export interface ProgramMeans {
  /** The sockets for the next one. @param isBeside whether another one serves. */
  socketSet(isBeside: boolean): SocketSet;
  /** The sockets of one that an earlier supervisor started. */
  socketSetOf(generation: number): SocketSet;
  /** New connections go elsewhere now. */
  turned(): void;
  /** One is about to get its stop signal. */
  stopping(generation: number): void;
  /** The private folder for the sockets at which programs speak. */
  readonly folder: string;
  /** The file of moult's that becomes a program. */
  readonly exec: () => string;
  /** Ready so long after its start, unless it has said so before; null for not by time. */
  readonly readyAfterMs: number | null;
  readonly stopSignal: NodeJS.Signals;
  /** Through what its output passes; undefined where it has this process's own. */
  readonly outputs: Outputs | undefined;
  /** Told what the operator should know. */
  readonly warn: (what: string) => void;
}

/** One generation that is a program which knows nothing of moult: an {@link ProgramAgent} speaks for it. */
export class ProgramGeneration extends GenerationProcess implements AgentProgram {
  readonly socketSet: SocketSet;
  readonly stopSignal: NodeJS.Signals;
  /** Settles when it can serve; never where it ends before. */
  readonly isReady: Promise<void>;
  readonly #agent: ProgramAgent;
  readonly #means: ProgramMeans;
  readonly #notify: NotifySocket | undefined;
  readonly #becomeReady: () => void;
  #hasSaidReady = false;
  #isOver = false;
  #isStopping = false;

  private constructor(
    number: number,
    release: Release,
    settings: Settings,
    tree: ProcessTree,
    means: ProgramMeans,
    socketSet: SocketSet,
    notify: NotifySocket | undefined,
  ) {
    super(number, release, settings, tree);
    this.socketSet = socketSet;
    this.stopSignal = means.stopSignal;
    this.#means = means;
    this.#notify = notify;
    let becomeReady!: () => void;
    this.isReady = new Promise((resolve) => {
      becomeReady = resolve;
    });
    this.#becomeReady = becomeReady;
    this.#agent = new ProgramAgent(this);
    this.attach(this.#agent.lifeline);
    tree.exited.then(() => {
      this.#isOver = true;
      notify?.close();
      socketSet.leave();
    });
  }

  /** Starts one. @param predecessor the one from which it takes over. */
  static startProgram(
    number: number,
    release: Release,
    settings: Settings,
    means: ProgramMeans,
    predecessor: GenerationProcess | undefined,
  ): ProgramGeneration {
    let onReady = () => {};
    const name = `n${number}-${randomBytes(3).toString('hex')}.sock`;
    const notify = new NotifySocket(join(means.folder, name), {
      ready: () => onReady(),
      refused: (pid) =>
        means.warn(
          `process ${pid}, which does not belong to generation ${number}, wrote to its NOTIFY_SOCKET: ignored`,
        ),
    });
    let socketSet: SocketSet;
    try {
      socketSet = means.socketSet(predecessor instanceof ProgramGeneration && predecessor.exit === undefined);
    } catch (error) {
      notify.close();
      throw error;
    }
    const started = startProgram({
      launch: release,
      exec: means.exec(),
      sockets: socketSet.sockets,
      generation: number,
      notifySocket: notify.path,
      isPiped: means.outputs !== undefined,
    });
    const tree = processTreeOf(started);
    if (means.outputs !== undefined)
      passOn(started, means.outputs, tree.output, means.outputs.keep?.(number));
    const generation = new ProgramGeneration(number, release, settings, tree, means, socketSet, notify);
    onReady = () => generation.#said();
    notify.listenTo(generation.pid);
    generation.#awaitReady();
    if (predecessor instanceof ProgramGeneration) predecessor.#agent.meet(generation);
    return generation;
  }

  /** Takes one over that an earlier supervisor started. */
  static adoptProgram(
    number: number,
    release: Release,
    settings: Settings,
    tree: ProcessTree,
    means: ProgramMeans,
  ): ProgramGeneration {
    // What it wrote meanwhile waits there.
    if (means.outputs !== undefined)
      passOn(readOutputOf(tree.pid), means.outputs, tree.output, means.outputs.keep?.(number));
    return new ProgramGeneration(
      number,
      release,
      settings,
      tree,
      means,
      means.socketSetOf(number),
      undefined,
    );
  }

  /** Whether new connections come to one generation only, at all of its stream sockets. */
  get hasTurns(): boolean {
    return this.sockets.every(({ turn }) => turn !== undefined);
  }

  get sockets(): readonly ProgramSocket[] {
    return this.socketSet.sockets;
  }

  /** New connections come to it from now on. @param before to which they went. */
  take(before?: { readonly socketSet: SocketSet }): void {
    this.socketSet.take(before?.socketSet);
    this.#means.turned();
  }

  /** Whether it has said itself that it is ready. */
  get hasSaidReady(): boolean {
    return this.#hasSaidReady;
  }

  /** What it is not ready for want of. */
  get waitsFor(): string {
    if (this.#waitsForWord) return 'it has not said READY=1 (--wait-ready)';
    if (this.#means.readyAfterMs !== null) return `--ready-after is ${this.#means.readyAfterMs} ms`;
    return this.socketSet.firstStream === undefined
      ? 'it has not said READY=1, and has no stream socket on which it could accept a connection'
      : 'it has neither said READY=1 nor accepted a connection';
  }

  override get endsInTime(): boolean {
    return true;
  }

  override giveUp(): void {
    this.comeToEnd(false);
  }

  /** It is to finish what it has. @param isStopping whether it has been told to before. */
  comeToEnd(isStopping: boolean): void {
    this.#isStopping ||= isStopping;
    if (this.exit === undefined) this.#agent.giveUp();
  }

  /** Sends the stop signal, once nobody waits to be accepted any more; only once. */
  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.socketSet.emptied().then(() => {
      this.#means.stopping(this.number);
      this.signalService(this.stopSignal);
    });
  }

  override async expect(_generation: number, settings: Settings): Promise<void> {
    this.#agent.expect(settings);
  }

  override async reach(withinMs: number): Promise<Socket> {
    const socket = await this.socketSet.reach(this.pid, performance.now() + withinMs, () => this.#isOver);
    if (socket === undefined)
      throw new Error(`it accepted no connection on a stream socket within ${withinMs} ms`);
    return socket;
  }

  override async state(): Promise<GenerationState & { says?: string }> {
    if (this.exit !== undefined)
      throw new MoultError('MOULT_PEER_CLOSED', `generation ${this.number} has ended`);
    const connections = this.connections().length;
    return {
      generation: this.number,
      pid: this.pid,
      state: this.#agent.state,
      entry: this.release.label,
      startedAt: this.startedAt,
      listeners: this.sockets.map(({ name, fd }) => ({ name, address: addressOf(fd) })),
      connections,
      // Of requests nothing is known: whoever is connected may be in the middle of one.
      inFlight: connections,
      responses: 0,
      errors: 0,
      moves: { http1: WHY_NOT_MOVED },
      memoryBytes: treeOf(this.pid).reduce((sum, pid) => sum + residentBytes(pid), 0),
      ...(this.#notify?.status === undefined ? {} : { says: this.#notify.status }),
    };
  }

  /** The peers of its connections on its TCP sockets. */
  connections(): string[] {
    return connectionsOf(
      this.pid,
      this.sockets.map(({ fd }) => fd),
    );
  }

  get #waitsForWord(): boolean {
    return this.settings.waitReady;
  }

  #awaitReady(): void {
    this.isReady.then(() => {
      if (!this.#isOver) this.#agent.ready(this.sockets.map(({ name }) => name));
    });
    const { readyAfterMs } = this.#means;
    if (readyAfterMs !== null) {
      const timer = setTimeout(this.#becomeReady, readyAfterMs);
      this.exited.then(() => clearTimeout(timer));
    } else if (!this.#waitsForWord) this.#awaitAccept().catch(() => {});
  }

  #said(): void {
    this.#hasSaidReady = true;
    this.#becomeReady();
  }

  async #awaitAccept(): Promise<void> {
    const isOver = () => this.#isOver || this.#hasSaidReady;
    const socket = await this.socketSet.reach(this.pid, Number.POSITIVE_INFINITY, isOver);
    socket?.destroy();
    if (socket !== undefined) this.#becomeReady();
  }
}

function addressOf(fd: number): Record<string, unknown> {
  const identity = socketIdentity(fd);
  const address = identity?.address;
  if (address === undefined || address.family === 'other') return {};
  if (address.family === 'unix') return { path: address.path };
  const { host, port, family } = address;
  const transport = identity?.type === 'datagram' ? { transport: 'udp' } : {};
  return { address: host, family: family === 'ipv6' ? 'IPv6' : 'IPv4', port, ...transport };
}
