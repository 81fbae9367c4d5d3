/*
 * Over 200 lines: this is the one place where generations, held listeners, handovers and operators meet.
 */
import type { Logger } from 'pino';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { asMoultError, MoultError } from '../errors.js';
import { wallClockMs } from '../os/clock.js';
import type { DrainReport, GenerationState, Message, Settings } from '../protocol/messages.js';
import { Backoff } from './backoff.js';
import { type Exit, GenerationProcess, type Outputs } from './generation-process.js';
import { describeExit, Handover, type RestartSummary, type StageEvent } from './handover.js';
import { HeldListeners } from './held-listeners.js';
import { type SupervisorOptions, settingsOf } from './options.js';
import { type Release, resolveRelease, type ServiceCommand } from './release.js';
import type { RunFolder } from './run-folder.js';

/** How long a predecessor may take to answer that it expects a successor. */
const EXPECT_TIMEOUT_MS = 5000;
const STATE_TIMEOUT_MS = 1000;

/** What the supervisor is doing. */
export type SupervisorState = 'starting' | 'serving' | 'restarting' | 'waiting' | 'stopping' | 'stopped';

/** What an operator may ask of a restart. */
export interface RestartRequest {
  readonly ifBusy: 'wait' | 'refuse';
  readonly allowFewerListeners: boolean;
}

/** What the supervisor tells of itself and of its generations. */
export interface ServiceStatus {
  readonly name: string;
  readonly pid: number;
  readonly state: SupervisorState;
  readonly command: string;
  readonly startedAt: number;
  readonly restarts: number;
  readonly crashes: number;
  readonly generations: readonly (Partial<GenerationState> & {
    generation: number;
    pid: number;
    state: string;
  })[];
}

type Watcher = (event: StageEvent) => void;

/** Starts generations of one service, keeps copies of their listeners, and replaces them on request. */
export class Supervisor {
  /** Settles with the exit code of `moult run`. */
  readonly ended: Promise<number>;
  readonly #folder: RunFolder;
  readonly #service: ServiceCommand;
  readonly #options: SupervisorOptions;
  readonly #log: Logger;
  readonly #outputs: Outputs;
  readonly #held = new HeldListeners();
  readonly #backoff = new Backoff();
  readonly #generations = new Map<number, GenerationProcess>();
  readonly #startedAt = wallClockMs();
  readonly #watchers = new Set<Watcher>();
  #door: Door | undefined;
  #state: SupervisorState = 'starting';
  #lastNumber = 0;
  #epoch = 0;
  #current: GenerationProcess | undefined;
  #lastGood: Release | undefined;
  #handover: Handover | undefined;
  #predecessorOf = new Map<number, GenerationProcess>();
  #following: Promise<RestartSummary> | undefined;
  #saysReady: boolean;
  #restarts = 0;
  #crashes = 0;
  #backoffTimer: NodeJS.Timeout | undefined;
  #end!: (code: number) => void;

  constructor(
    folder: RunFolder,
    service: ServiceCommand,
    options: SupervisorOptions,
    log: Logger,
    outputs: Outputs,
  ) {
    this.#folder = folder;
    this.#service = service;
    this.#options = options;
    this.#log = log;
    this.#outputs = outputs;
    this.#saysReady = options.waitReady;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Opens the door and starts the first generation. @throws MOULT_BAD_OPTION when the command cannot be resolved. */
  async start(): Promise<void> {
    const release = resolveRelease(this.#service);
    this.#door = await Door.open(this.#folder.control, 'supervisor', (channel, hello) =>
      this.#visit(channel, hello),
    );
    const first = this.#spawn(release, settingsOf(this.#options, false, this.#saysReady));
    first.exited.then((exit) => {
      if (first.servingSince !== undefined || first.isEnding) return;
      this.#log.error(`the service ${describeExit(exit)} before it was ready`);
      this.#finish(exit.code === null || exit.code === 0 ? 1 : exit.code);
    });
  }

  /**
   * Replaces the running generation by what the command's paths hold now.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover; `serving` tells who serves.
   */
  restart(request: RestartRequest, watch: Watcher = () => {}): Promise<RestartSummary> {
    if (this.#isStopping()) {
      return Promise.reject(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
    }
    this.#watchers.add(watch);
    return this.#enqueue(request).finally(() => this.#watchers.delete(watch));
  }

  // Requests that come during a handover become one that follows it.
  #enqueue(request: RestartRequest): Promise<RestartSummary> {
    const busy = this.#handover !== undefined && !this.#handover.isSettled;
    const isBusy = busy || (this.#state === 'starting' && this.#current === undefined);
    if (!isBusy && this.#following === undefined) return this.#replace(request);
    if (request.ifBusy === 'refuse') {
      return Promise.reject(
        new MoultError('MOULT_RESTART_IN_PROGRESS', `generation ${this.#lastNumber} is just taking over`, {
          serving: 'unchanged',
        }),
      );
    }
    this.#following ??= this.#idle().then(() => {
      this.#following = undefined;
      return this.#replace(request);
    });
    return this.#following;
  }

  async #idle(): Promise<void> {
    await this.#handover?.done.catch(() => {});
    const starting = this.#generations.get(this.#lastNumber);
    if (this.#current === undefined && starting !== undefined)
      await Promise.race([this.#served(starting), starting.exited]);
  }

  #served(generation: GenerationProcess): Promise<void> {
    if (generation.servingSince !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.#onServing.set(generation.number, resolve));
  }

  #onServing = new Map<number, () => void>();

  async #replace({ allowFewerListeners }: RestartRequest): Promise<RestartSummary> {
    const release = resolveRelease(this.#service);
    const predecessor = this.#current;
    const settings = settingsOf(this.#options, allowFewerListeners, this.#saysReady);
    clearTimeout(this.#backoffTimer);
    // The operator has decided: what is in probation is confirmed.
    for (const one of this.#generations.values())
      if (one !== predecessor) one.lifeline?.send({ type: 'confirm' });
    const number = this.#lastNumber + 1;
    if (predecessor !== undefined) await predecessor.expect(number, settings, EXPECT_TIMEOUT_MS);
    this.#state = 'restarting';
    const successor = this.#spawn(release, settings, predecessor);
    const handover = new Handover(successor, predecessor, settings, (event) => {
      for (const watch of this.#watchers) watch(event);
    });
    this.#handover = handover;
    try {
      const summary = await handover.done;
      this.#restarts += 1;
      this.#log.info(
        `generation ${summary.generation} took over from ${summary.predecessor ?? 'nobody'} in ${Math.round(summary.tookMs)} ms: ` +
          `${summary.listeners} listeners passed, ${summary.moved} connections moved, ${summary.draining} draining`,
      );
      return summary;
    } catch (error) {
      const told = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
      this.#log.error(
        `restart failed at ${told.stage ?? 'spawn'}: ${told.message} (${told.code}); serving now: ${told.serving}`,
      );
      throw told;
    } finally {
      this.#settle();
      // Both are gone: the predecessor by itself, and the successor that was to take over from it.
      if (this.#current === undefined && !this.#isStopping()) this.#revive(successor, 'failed');
    }
  }

  /** Ends the service: what is in flight is finished, up to the drain time-out; a second call ends it at once. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    const all = [...this.#generations.values()];
    if (this.#state === 'stopping') {
      for (const one of all) one.kill();
      return;
    }
    this.#state = 'stopping';
    this.#log.info('stopping');
    clearTimeout(this.#backoffTimer);
    if (this.#handover !== undefined && !this.#handover.hasCommitted) {
      this.#handover.fail(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
    }
    const { drainTimeoutMs, stopTimeoutMs, stopSignal } = this.#options;
    for (const one of all) {
      one.isEnding = true;
      if (one.lifeline !== undefined && !one.lifeline.isClosed && one.servingSince !== undefined) {
        one.lifeline.send({ type: 'retire', timeoutMs: drainTimeoutMs });
      } else one.signalService(stopSignal);
    }
    const force = setTimeout(() => {
      for (const one of this.#generations.values()) {
        this.#log.warn(
          `generation ${one.number} did not end within ${drainTimeoutMs + stopTimeoutMs} ms and is killed`,
        );
        one.kill();
      }
    }, drainTimeoutMs + stopTimeoutMs);
    await Promise.all(all.map((one) => one.exited));
    clearTimeout(force);
    for (const name of this.#held.names()) this.#held.closeForGood(name);
    this.#finish(0);
  }

  /** What runs now. */
  async status(): Promise<ServiceStatus> {
    const generations = await Promise.all(
      [...this.#generations.values()].map(async (one) => {
        const known = { generation: one.number, pid: one.servicePid, startedAt: one.startedAt };
        const state = await one.state(STATE_TIMEOUT_MS).catch(() => undefined);
        if (state === undefined)
          return { ...known, state: one.servingSince === undefined ? 'starting' : 'silent' };
        return { ...state, state: one.servingSince === undefined ? 'starting' : state.state };
      }),
    );
    return {
      name: this.#folder.name,
      pid: process.pid,
      state: this.#state,
      command: this.#service.words.join(' '),
      startedAt: this.#startedAt,
      restarts: this.#restarts,
      crashes: this.#crashes,
      generations,
    };
  }

  #spawn(release: Release, settings: Settings, predecessor?: GenerationProcess): GenerationProcess {
    const generation = new GenerationProcess(
      ++this.#lastNumber,
      release,
      settings,
      this.#folder.control,
      this.#outputs,
    );
    this.#generations.set(generation.number, generation);
    if (predecessor !== undefined) this.#predecessorOf.set(generation.number, predecessor);
    this.#log.debug(`generation ${generation.number} started as process ${generation.pid}: ${release.label}`);
    generation.exited.then((exit) => this.#exited(generation, exit));
    return generation;
  }

  #visit(channel: Channel, hello: Message<'hello'>): void {
    if (hello.role === 'operator') this.#serveOperator(channel);
    else if (hello.role === 'generation') this.#join(channel, hello);
    else
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        'expected a generation or an operator, met a successor: it must ask the predecessor',
      );
  }

  #join(channel: Channel, hello: Message<'hello'>): void {
    const generation = this.#generations.get(hello.generation ?? 0);
    if (generation === undefined || generation.lifeline !== undefined || generation.isEnding) {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        `generation ${hello.generation ?? '?'} has its process already, or was never started`,
      );
    }
    const predecessor = this.#livingPredecessor(generation);
    generation.attach(channel);
    this.#listenTo(generation, channel);
    channel.send({
      type: 'welcome',
      generation: generation.number,
      predecessor: predecessor?.door ?? null,
      settings: generation.settings,
    });
    if (predecessor?.door === undefined) {
      const { items, descriptors } = this.#held.describe();
      channel.send({ type: 'inherit', epoch: this.#epoch, listeners: items }, descriptors);
    }
    this.#stageOf(generation, 'hello', { pid: channel.peer.pid, node: hello.node, entry: hello.entry });
  }

  #listenTo(generation: GenerationProcess, channel: Channel): void {
    channel.on('hold', ({ listener }, incoming) => {
      const [fd] = incoming.take();
      if (fd !== undefined) this.#held.hold(listener, fd);
      else
        this.#log.error(
          `no copy of ${listener.name} could be kept: this process may open no more descriptors`,
        );
    });
    channel.on('release', ({ name }) => this.#held.release(name));
    channel.on('ready', (ready) => this.#ready(generation, ready));
    channel.on('committed', () => {});
    channel.on('serving', ({ epoch, said }) => this.#serving(generation, epoch, said));
    channel.on('progress', ({ generation: number, stage, facts }) => {
      const successor = this.#generations.get(number);
      if (stage === 'confirm') this.#confirmed(successor);
      if (successor !== undefined) this.#stageOf(successor, stage, facts);
    });
    channel.on('aborted', ({ generation: number, error }) => this.#failed(number, MoultError.from(error)));
    channel.on('undone', ({ generation: number, error }) => {
      this.#current = generation;
      this.#failed(number, MoultError.from(error));
    });
    channel.on('drained', ({ report }) => this.#drained(generation, report));
  }

  // Where there is no predecessor, or it is gone, the supervisor gives the commit.
  #ready(generation: GenerationProcess, { claims }: Message<'ready'>): void {
    const predecessor = this.#predecessorOf.get(generation.number);
    const isOrphan = predecessor === undefined || predecessor.exit !== undefined;
    generation.claims = new Set(claims.map(({ name }) => name));
    if (isOrphan && generation.servingSince === undefined) this.#commit(generation);
  }

  #commit(generation: GenerationProcess): void {
    this.#epoch += 1;
    generation.lifeline?.send({ type: 'commit', epoch: this.#epoch });
    if (generation.claims !== undefined) this.#held.keepOnly(generation.claims);
  }

  #serving(generation: GenerationProcess, epoch: number, said: boolean): void {
    if (generation.servingSince !== undefined) return;
    generation.servingSince = wallClockMs();
    this.#epoch = Math.max(this.#epoch, epoch);
    this.#saysReady ||= said;
    this.#current = generation;
    this.#onServing.get(generation.number)?.();
    this.#onServing.delete(generation.number);
    const predecessor = this.#livingPredecessor(generation);
    if (predecessor === undefined) {
      this.#lastGood = generation.release;
      const { length } = this.#held.names();
      this.#log.info(
        `generation ${generation.number} serves ${length} listener${length === 1 ? '' : 's'} (process ${generation.servicePid})`,
      );
    } else this.#limit(predecessor);
    if (this.#handover?.successor === generation) this.#handover.committed();
    this.#settle();
  }

  // A predecessor ends itself when it has drained; one that is hung is ended all the same.
  #limit(predecessor: GenerationProcess): void {
    const { drainTimeoutMs, probationMs, stopTimeoutMs } = this.#options;
    const timer = setTimeout(() => {
      if (this.#current === predecessor) return;
      this.#log.warn(`generation ${predecessor.number} did not end in time and is killed`);
      predecessor.kill();
    }, Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs);
    timer.unref();
    predecessor.exited.then(() => clearTimeout(timer));
  }

  #confirmed(successor: GenerationProcess | undefined): void {
    if (successor !== undefined) this.#lastGood = successor.release;
  }

  #drained(generation: GenerationProcess, report: DrainReport): void {
    generation.isEnding = true;
    for (const { peer, ageMs, reason } of report.cut) {
      this.#log.warn(
        `generation ${generation.number}: cut the connection of ${peer} after ${Math.round(ageMs)} ms: ${reason}`,
      );
    }
    this.#log.debug(
      `generation ${generation.number} has drained: ${report.moved} moved, ${report.drained} ended, ${report.cut.length} cut`,
    );
    const timer = setTimeout(() => {
      this.#log.warn(
        `generation ${generation.number} did not end within ${this.#options.stopTimeoutMs} ms of its stop signal and is killed`,
      );
      generation.kill();
    }, this.#options.stopTimeoutMs);
    generation.exited.then(() => clearTimeout(timer));
  }

  #failed(number: number, error: MoultError): void {
    const successor = this.#generations.get(number);
    if (this.#handover?.successor.number === number && !this.#handover.isSettled) this.#handover.fail(error);
    else if (successor !== undefined) {
      // It had been reported as done; who asked is gone, so the log tells.
      this.#log.error(
        `generation ${number} failed in its probation (${error.message}); generation ${this.#current?.number} serves again`,
      );
      successor.isEnding = true;
      successor.kill();
    }
    this.#settle();
  }

  #exited(generation: GenerationProcess, exit: Exit): void {
    this.#generations.delete(generation.number);
    generation.lifeline?.close();
    // What the tree left behind, such as a service whose wrapper was ended.
    generation.kill();
    const successor = this.#successorOf(generation);
    if (successor !== undefined && successor.servingSince === undefined) this.#adopt(successor);
    else if (successor !== undefined && this.#handover?.successor === successor)
      this.#handover.predecessorLost();
    if (this.#isStopping() || generation.isEnding) return;
    if (generation === this.#current)
      this.#crashed(generation, exit, successor !== undefined && successor.servingSince === undefined);
    else if (generation.servingSince !== undefined)
      this.#log.warn(`generation ${generation.number} ${describeExit(exit)} while it was draining`);
  }

  // The predecessor died before it had committed: the successor takes over as soon as it is ready.
  #adopt(successor: GenerationProcess): void {
    if (successor.claims !== undefined) this.#commit(successor);
  }

  #crashed(generation: GenerationProcess, exit: Exit, hasHeir: boolean): void {
    this.#current = undefined;
    // Its predecessor is in probation and resumes: it says so itself.
    const predecessor = this.#livingPredecessor(generation);
    if (predecessor !== undefined && !predecessor.isEnding) return;
    const isOver = exit.code === 0 && this.#options.restart === 'on-failure';
    if (isOver || this.#options.restart === 'never') {
      this.#log.info(`the service ${describeExit(exit)} and is over`);
      this.stop().catch(() => {});
      return;
    }
    this.#crashes += 1;
    if (hasHeir) {
      this.#log.error(`generation ${generation.number} ${describeExit(exit)}; its successor takes over`);
      return;
    }
    this.#revive(generation, describeExit(exit));
  }

  #revive(generation: GenerationProcess, what: string): void {
    const release = this.#lastGood ?? generation.release;
    const waitMs = this.#backoff.next(
      generation.servingSince === undefined ? 0 : wallClockMs() - generation.servingSince,
    );
    this.#state = 'waiting';
    this.#log.error(
      `generation ${generation.number} ${what}; clients wait in the backlog, the last good release starts ${waitMs === 0 ? 'now' : `in ${waitMs} ms`}`,
    );
    this.#backoffTimer = setTimeout(() => {
      const next = this.#spawn(release, settingsOf(this.#options, true, this.#saysReady));
      next.exited.then((how) => {
        if (next.servingSince === undefined && !next.isEnding && this.#state === 'waiting')
          this.#revive(next, describeExit(how));
      });
    }, waitMs);
  }

  #livingPredecessor(generation: GenerationProcess): GenerationProcess | undefined {
    const predecessor = this.#predecessorOf.get(generation.number);
    return predecessor?.exit === undefined ? predecessor : undefined;
  }

  #successorOf(generation: GenerationProcess): GenerationProcess | undefined {
    for (const [number, predecessor] of this.#predecessorOf) {
      if (predecessor === generation) return this.#generations.get(number);
    }
    return undefined;
  }

  #stageOf(generation: GenerationProcess, stage: string, facts: Record<string, unknown>): void {
    if (this.#handover?.successor === generation) this.#handover.stage(stage, facts);
  }

  #settle(): void {
    if (this.#state === 'stopping' || this.#state === 'stopped' || this.#state === 'waiting') {
      if (this.#state !== 'waiting' || this.#current === undefined) return;
    }
    const busy = this.#handover !== undefined && !this.#handover.isSettled;
    this.#state = busy ? 'restarting' : this.#current === undefined ? 'starting' : 'serving';
  }

  #isStopping(): boolean {
    return this.#state === 'stopping' || this.#state === 'stopped';
  }

  #finish(code: number): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#door?.close();
    this.#end(code);
  }

  #serveOperator(channel: Channel): void {
    const answer = (work: Promise<object>) => {
      work.then(
        (value) => channel.send({ type: 'result', ok: true, value: value as Record<string, unknown> }),
        (error) =>
          channel.send({
            type: 'result',
            ok: false,
            error: asMoultError(error, 'MOULT_HANDOVER_ABORTED').report(),
          }),
      );
    };
    channel.on('status', () => answer(this.status()));
    channel.on('stop', () => answer(this.stop().then(() => ({}))));
    channel.on('restart', ({ wait, ifBusy, allowFewerListeners }) => {
      const watch: Watcher = (event) => channel.send({ type: 'event', event: { ...event } });
      const done = this.restart({ ifBusy, allowFewerListeners }, watch);
      if (wait) {
        answer(done);
        return;
      }
      done.catch(() => {});
      answer(Promise.resolve({ started: true }));
    });
  }
}
