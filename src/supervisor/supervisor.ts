/*
 * Over 300 lines: this is the one place where generations, held listeners, handovers, probation and operators
 * meet. What can be decided without the others is in a file of its own.
 */
import { rmSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { asMoultError, MoultError } from '../errors.js';
import type { RestartSummary, StageEvent } from '../lifecycle/restart-record.js';
import { wallClockMs } from '../os/clock.js';
import { type Exit, startTicks } from '../os/process.js';
import type { DrainReport, Message, Settings } from '../protocol/messages.js';
import { MOULT_VERSION } from '../version.js';
import { admit, type QuietRequest } from './admission.js';
import { Backoff } from './backoff.js';
import { checkBudgetMs, runCheck } from './check.js';
import { GenerationProcess } from './generation-process.js';
import { describeExit, Handover } from './handover.js';
import { HeldListeners, type KeptListener } from './held-listeners.js';
import { historyOf } from './history.js';
import { Journal } from './journal.js';
import { serveOperator } from './operator.js';
import { type SupervisorOptions, settingsOf } from './options.js';
import { ProbationWatch } from './probation.js';
import { adoptTree, type Outputs } from './process-tree.js';
import { livingGenerations } from './recovery.js';
import { type Release, resolveRelease, type ServiceCommand } from './release.js';
import { Releases } from './releases.js';
import type { RunFolder } from './run-folder.js';
import type { ServiceStatus, SupervisorState } from './status.js';

/** How long a predecessor may take to answer that it expects a successor. */
const EXPECT_TIMEOUT_MS = 5000;
const STATE_TIMEOUT_MS = 1000;
/** How long the generations that a dead supervisor left may take to come back to the next one. */
const REJOIN_TIMEOUT_MS = 5000;
const REJOIN_LOOK_MS = 50;
const UPGRADE_DELAY_MS = 50;

/** What an operator may ask of a restart. */
export interface RestartRequest {
  readonly ifBusy: 'wait' | 'refuse';
  readonly allowFewerListeners: boolean;
  /** Settle only at the end of probation. */
  readonly untilConfirmed: boolean;
  readonly whenQuiet: QuietRequest | null;
}

type Watcher = (event: StageEvent) => void;

interface Probation {
  readonly successor: GenerationProcess;
  readonly predecessor: GenerationProcess;
  readonly watch: ProbationWatch;
  /** Settles when the successor is confirmed; rejects when the handover is undone. */
  readonly outcome: Promise<void>;
  readonly settle: (error?: MoultError) => void;
}

/** Starts generations of one service, keeps copies of their listeners, and replaces them on request. */
export class Supervisor {
  /** Settles with the exit code of `moult run`. */
  readonly ended: Promise<number>;
  readonly held = new HeldListeners();
  readonly #folder: RunFolder;
  readonly #service: ServiceCommand;
  readonly #options: SupervisorOptions;
  readonly #log: Logger;
  readonly #outputs: Outputs;
  readonly #replaceProgram: (held: readonly KeptListener[]) => never;
  readonly #journal: Journal;
  readonly #releases = new Releases();
  readonly #backoff = new Backoff();
  readonly #generations = new Map<number, GenerationProcess>();
  readonly #startedAt = wallClockMs();
  readonly #watchers = new Set<Watcher>();
  readonly #onServing = new Map<number, () => void>();
  #door: Door | undefined;
  #state: SupervisorState = 'starting';
  #lastNumber = 0;
  #epoch = 0;
  #current: GenerationProcess | undefined;
  #handover: Handover | undefined;
  #replacing: Promise<RestartSummary> | undefined;
  #following: Promise<RestartSummary> | undefined;
  #probation: Probation | undefined;
  #saysReady: boolean;
  #restarts = 0;
  #crashes = 0;
  #exitCode = 0;
  #backoffTimer: NodeJS.Timeout | undefined;
  #end!: (code: number) => void;

  constructor(
    folder: RunFolder,
    service: ServiceCommand,
    options: SupervisorOptions,
    log: Logger,
    outputs: Outputs,
    replaceProgram: (held: readonly KeptListener[]) => never,
  ) {
    this.#replaceProgram = replaceProgram;
    this.#folder = folder;
    this.#service = service;
    this.#options = options;
    this.#log = log;
    this.#outputs = outputs;
    this.#saysReady = options.waitReady;
    this.#journal = new Journal(`${folder.path}/journal.ndjson`, (error) =>
      log.error(`the journal cannot be written (${String(error)}); the service goes on without it`),
    );
    // Adopted generations are no children of this process, and do not keep it alive.
    const alive = setInterval(() => {}, 2 ** 30);
    this.ended = new Promise((resolve) => {
      this.#end = (code) => {
        clearInterval(alive);
        resolve(code);
      };
    });
  }

  /**
   * Opens the door, and takes over the generations that an earlier supervisor left, or starts the first.
   * @throws MOULT_BAD_OPTION when the command cannot be resolved; MOULT_PEER_TIMEOUT when an earlier
   *   generation lives but does not come back.
   */
  async start(): Promise<void> {
    const release = resolveRelease(this.#service);
    const living = this.#recover(release);
    this.#door = await Door.open(this.#folder.control, 'supervisor', (channel, hello) =>
      this.#visit(channel, hello),
    );
    this.#journal.write({ event: 'run', pid: process.pid, command: release.label });
    if (living.length > 0) {
      await this.#rejoined(living);
      return;
    }
    this.#spawn(release, settingsOf(this.#options, false, this.#saysReady));
  }

  /**
   * Replaces the running generation by what the command's paths hold now.
   * @returns when the successor has taken over and all that can move has moved.
   * @throws any code of a handover; `serving` tells who serves.
   */
  async restart(
    request: RestartRequest,
    watch: Watcher = () => {},
    release?: Release,
  ): Promise<RestartSummary> {
    if (this.#isStopping()) throw new MoultError('MOULT_STOPPING', 'the service is being stopped');
    this.#watchers.add(watch);
    try {
      const summary = await this.#enqueue(request, release);
      if (request.untilConfirmed && this.#probation?.successor.number === summary.generation) {
        await this.#probation.outcome;
      }
      return summary;
    } finally {
      this.#watchers.delete(watch);
    }
  }

  /**
   * Gives the service back to the release before: within probation at once, later by starting it again.
   * @returns the generation that serves.
   * @throws MOULT_NOTHING_TO_ROLL_BACK, or any code of a handover.
   */
  async rollback(watch: Watcher = () => {}): Promise<{ generation: number; how: 'resumed' | 'restarted' }> {
    const probation = this.#probation;
    if (probation?.predecessor.isReachable) {
      const error = new MoultError('MOULT_ROLLED_BACK', 'the operator asked for the predecessor back');
      this.#undo(probation.predecessor, probation.successor, error);
      await probation.outcome.catch(() => {});
      if (this.#current === probation.predecessor)
        return { generation: probation.predecessor.number, how: 'resumed' };
    }
    const release = this.#releases.before();
    if (release === undefined) {
      throw new MoultError('MOULT_NOTHING_TO_ROLL_BACK', 'no release before this one has proved itself here');
    }
    const request = {
      ifBusy: 'wait',
      allowFewerListeners: true,
      untilConfirmed: false,
      whenQuiet: null,
    } as const;
    const summary = await this.restart(request, watch, release);
    return { generation: summary.generation, how: 'restarted' };
  }

  /** Past restarts, oldest first. */
  history(): Record<string, unknown>[] {
    return historyOf(this.#journal.read());
  }

  // Requests that come during a handover become one that follows it.
  #enqueue(request: RestartRequest, release?: Release): Promise<RestartSummary> {
    const isBusy =
      this.#replacing !== undefined || this.#following !== undefined || this.#starting() !== undefined;
    if (!isBusy) return this.#begin(request, release);
    if (request.ifBusy === 'refuse') {
      const message = `generation ${this.#lastNumber} is just taking over`;
      return Promise.reject(new MoultError('MOULT_RESTART_IN_PROGRESS', message, { serving: 'unchanged' }));
    }
    this.#following ??= this.#idle()
      .finally(() => {
        this.#following = undefined;
      })
      .then(() => this.#begin(request, release));
    return this.#following;
  }

  #begin(request: RestartRequest, release?: Release): Promise<RestartSummary> {
    const replacing = this.#replace(request, release)
      .catch((error) => {
        throw this.#restartFailed(error);
      })
      .finally(() => {
        this.#replacing = undefined;
        this.#settle();
      });
    this.#replacing = replacing;
    return replacing;
  }

  #restartFailed(error: unknown): MoultError {
    const told = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
    const { code, message, stage, serving, details } = told;
    const generation = Number(details?.generation ?? this.#lastNumber + 1);
    this.#journal.write({ event: 'restart', ok: false, generation, code, message, stage, serving });
    this.#log.error(
      `restart failed at ${stage ?? 'its start'}: ${message} (${code}); serving now: ${serving}`,
    );
    return told;
  }

  async #idle(): Promise<void> {
    await this.#replacing?.catch(() => {});
    const starting = this.#starting();
    if (starting === undefined) return;
    const served = new Promise<void>((resolve) => this.#onServing.set(starting.number, resolve));
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), this.#options.readyTimeoutMs);
    });
    const how = await Promise.race([served, starting.exited, late]);
    clearTimeout(limit);
    if (how !== 'late') return;
    if (this.#releases.lastGood() === undefined) {
      // It may serve all the same, in a way that moult does not see: it is not ours to end.
      throw new MoultError(
        'MOULT_READY_TIMEOUT',
        `generation ${starting.number} has not shown itself: it neither listened in its main thread nor said that it is ready`,
        { serving: 'unchanged' },
      );
    }
    // A start that hangs must not hold up the release that mends it.
    starting.kill();
    await starting.exited;
  }

  async #replace(request: RestartRequest, pinned?: Release): Promise<RestartSummary> {
    await admit(request, this.#options, {
      draining: () => this.#draining(),
      inFlight: async () => (await this.#current?.state(STATE_TIMEOUT_MS))?.inFlight ?? 0,
      log: this.#log,
    });
    const release = pinned ?? resolveRelease(this.#service);
    const predecessor = this.#current;
    const settings = settingsOf(this.#options, request.allowFewerListeners, this.#saysReady);
    clearTimeout(this.#backoffTimer);
    // The operator has decided: what is in probation is confirmed.
    for (const one of this.#generations.values())
      if (one !== predecessor) one.lifeline?.send({ type: 'confirm' });
    const number = this.#lastNumber + 1;
    if (predecessor !== undefined) await predecessor.expect(number, settings, EXPECT_TIMEOUT_MS);
    this.#state = 'restarting';
    const successor = this.#spawn(release, settings, predecessor);
    const checkMs = checkBudgetMs(this.#options.check);
    const handover = new Handover(successor, predecessor, settings, checkMs, (event) => this.#tell(event));
    this.#handover = handover;
    try {
      const summary = await handover.done;
      this.#restarts += 1;
      this.#journal.write({ event: 'restart', ok: true, epoch: this.#epoch, ...summary });
      this.#log.info(
        `generation ${summary.generation} took over from ${summary.predecessor ?? 'nobody'} in ${Math.round(summary.tookMs)} ms: ` +
          `${summary.listeners} listeners passed, ${summary.moved} connections moved, ${summary.draining} draining`,
      );
      return summary;
    } finally {
      // Both may be gone: the predecessor by itself, and the successor that was to take over from it.
      if (!this.#isStopping() && this.#isForsaken()) this.#revive(successor, 'failed');
    }
  }

  /** Ends the service: what is in flight is finished, up to the drain time-out; a second call ends it at once. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    if (this.#state === 'stopping') {
      for (const one of this.#generations.values()) one.kill();
      return;
    }
    this.#state = 'stopping';
    this.#log.info('stopping');
    this.#journal.write({ event: 'stop' });
    clearTimeout(this.#backoffTimer);
    this.#probation?.watch.stop();
    if (this.#handover !== undefined && !this.#handover.hasCommitted) {
      this.#handover.fail(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
    }
    const { drainTimeoutMs, stopTimeoutMs, stopSignal } = this.#options;
    for (const one of this.#generations.values()) {
      one.isEnding = true;
      if (one.isReachable && one.servingSince !== undefined) {
        one.lifeline?.send({ type: 'retire', timeoutMs: drainTimeoutMs });
      } else one.signalService(stopSignal);
    }
    const limitMs = drainTimeoutMs + stopTimeoutMs;
    const force = setTimeout(() => {
      for (const one of this.#generations.values()) {
        this.#log.warn(`generation ${one.number} did not end within ${limitMs} ms and is killed`);
        one.kill();
      }
    }, limitMs);
    await Promise.all([...this.#generations.values()].map((one) => one.exited));
    clearTimeout(force);
    for (const name of this.held.names()) this.held.closeForGood(name);
    this.#finish(this.#exitCode);
  }

  /**
   * Replaces this process's program by the one that its path holds now, in a moment, so that the answer gets
   * out first. The generations serve on and come back to it.
   * @throws MOULT_RESTART_IN_PROGRESS, MOULT_STOPPING
   */
  upgradeSoon(): { pid: number } {
    if (this.#isStopping()) throw new MoultError('MOULT_STOPPING', 'the service is being stopped');
    if (this.#replacing !== undefined || this.#current === undefined) {
      throw new MoultError('MOULT_RESTART_IN_PROGRESS', 'a generation is just taking over, or none serves');
    }
    setTimeout(() => this.#upgrade(), UPGRADE_DELAY_MS);
    return { pid: process.pid };
  }

  #upgrade(): void {
    this.#log.info('upgrading the supervisor in place');
    try {
      this.#replaceProgram(this.held.keepOverExec());
    } catch (error) {
      this.#log.error(`the supervisor could not be replaced (${String(error)}) and goes on as it was`);
    }
  }

  /** Lets go of everything after a failed start; generations that live go on. */
  abandon(): void {
    this.#door?.close();
    this.#end(1);
  }

  /** What runs now. */
  async status(): Promise<ServiceStatus> {
    const generations = await Promise.all(
      [...this.#generations.values()].map(async (one) => {
        const known = { generation: one.number, pid: one.servicePid, startedAt: one.startedAt };
        const state = await one.state(STATE_TIMEOUT_MS).catch(() => undefined);
        const isStarting = one.servingSince === undefined;
        if (state === undefined) return { ...known, state: isStarting ? 'starting' : 'silent' };
        return { ...state, state: isStarting ? 'starting' : state.state };
      }),
    );
    return {
      name: this.#folder.name,
      pid: process.pid,
      version: MOULT_VERSION,
      state: this.#state,
      command: this.#service.words.join(' '),
      startedAt: this.#startedAt,
      restarts: this.#restarts,
      crashes: this.#crashes,
      generations,
    };
  }

  #recover(release: Release): GenerationProcess[] {
    const entries = this.#journal.read();
    const { lastNumber, epoch, living, proved } = livingGenerations(entries);
    for (const startedFrom of proved) this.#releases.proved({ ...release, ...startedFrom });
    this.#lastNumber = lastNumber;
    this.#epoch = epoch;
    return living.flatMap(({ generation, pid, ticks, startedFrom }) => {
      const tree = adoptTree(pid, ticks);
      if (tree === undefined) return [];
      const known = new GenerationProcess(
        generation,
        { ...release, ...startedFrom },
        settingsOf(this.#options, false, this.#saysReady),
        tree,
      );
      this.#generations.set(generation, known);
      known.exited.then((exit) => this.#exited(known, exit));
      return [known];
    });
  }

  async #rejoined(living: readonly GenerationProcess[]): Promise<void> {
    const served = living.map(
      (one) => new Promise<void>((resolve) => this.#onServing.set(one.number, resolve)),
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), REJOIN_TIMEOUT_MS);
    });
    const gone = Promise.all(living.map((one) => one.exited)).then(() => 'gone' as const);
    const how = await Promise.race([late, gone, ...served]);
    clearTimeout(timer);
    if (how === 'late') {
      const pids = living.map(({ pid }) => pid).join(', ');
      this.#door?.close();
      throw new MoultError(
        'MOULT_PEER_TIMEOUT',
        `an earlier generation still lives (process ${pids}) and does not answer: end it, then run again`,
      );
    }
    // The others, such as a predecessor in probation, come back in their own time; what does not is ended.
    if (how !== 'gone') await this.#othersRejoined(living);
    if (how === 'gone') this.#revive(living[0] as GenerationProcess, 'ended while no supervisor ran');
    else
      this.#log.info(`generation ${this.#current?.number} is adopted (process ${this.#current?.servicePid})`);
  }

  async #othersRejoined(living: readonly GenerationProcess[]): Promise<void> {
    const limit = performance.now() + REJOIN_TIMEOUT_MS;
    const isAway = (one: GenerationProcess) => one.exit === undefined && !one.isReachable;
    while (living.some(isAway) && performance.now() < limit) {
      await new Promise((resolve) => setTimeout(resolve, REJOIN_LOOK_MS));
    }
    for (const one of living) if (isAway(one) && one !== this.#current) one.kill();
  }

  #spawn(release: Release, settings: Settings, predecessor?: GenerationProcess): GenerationProcess {
    const number = ++this.#lastNumber;
    const { control } = this.#folder;
    const generation = GenerationProcess.start(number, release, settings, control, this.#outputs);
    generation.predecessor = predecessor;
    this.#generations.set(number, generation);
    const { command, args, cwd, isDirect, label } = release;
    this.#journal.write({
      event: 'start',
      generation: number,
      pid: generation.pid,
      ticks: startTicks(generation.pid) ?? 0,
      release: { command, args, cwd, isDirect, label },
    });
    this.#log.debug(`generation ${number} started as process ${generation.pid}: ${release.label}`);
    generation.exited.then((exit) => this.#exited(generation, exit));
    return generation;
  }

  #visit(channel: Channel, hello: Message<'hello'>): void {
    if (hello.role === 'operator') serveOperator(channel, this);
    else if (hello.role === 'generation') this.#join(channel, hello);
    else {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        'expected a generation or an operator, met a successor: it must ask the predecessor',
      );
    }
  }

  #join(channel: Channel, hello: Message<'hello'>): void {
    const generation = this.#generations.get(hello.generation ?? 0);
    const isTaken =
      generation?.lifeline !== undefined && (hello.rejoin === undefined || generation.isReachable);
    if (generation === undefined || isTaken || generation.isEnding) {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        `generation ${hello.generation ?? '?'} has its process already, or was never started`,
      );
    }
    generation.attach(channel);
    this.#listenTo(generation, channel);
    const predecessor = hello.rejoin === undefined ? generation.livingPredecessor : undefined;
    const welcome = {
      type: 'welcome',
      generation: generation.number,
      predecessor: predecessor?.door ?? null,
      settings: generation.settings,
    } as const;
    // Our own output, for the time when it no longer comes through us.
    channel.send(welcome, [1, 2]);
    if (hello.rejoin !== undefined) {
      this.#rejoin(generation, hello.rejoin);
      return;
    }
    if (predecessor?.door === undefined) {
      const { items, descriptors } = this.held.describe();
      channel.send({ type: 'inherit', epoch: this.#epoch, listeners: items }, descriptors);
    }
    this.#stageOf(generation, 'hello', { pid: channel.peer.pid, node: hello.node, entry: hello.entry });
  }

  #rejoin(generation: GenerationProcess, rejoin: NonNullable<Message<'hello'>['rejoin']>): void {
    generation.lifeline?.send({ type: 'direct-output' });
    this.#epoch = Math.max(this.#epoch, rejoin.epoch);
    const { state, accepting } = rejoin;
    if (state === 'probation' || state === 'draining' || state === 'undoing')
      generation.servingSince ??= wallClockMs();
    // A handover that lost its supervisor before commit is called off.
    if (['expecting', 'inheriting', 'ready'].includes(state) && this.#handover === undefined) {
      const error = new MoultError('MOULT_HANDOVER_ABORTED', 'the supervisor was replaced');
      generation.lifeline?.send({ type: 'abort', error: error.report() });
    }
    generation.probationOf = state === 'probation' ? (rejoin.successor ?? undefined) : undefined;
    if (accepting) this.#serving(generation, rejoin.epoch, false);
    else if (state === 'serving') {
      generation.isEnding = true;
      generation.kill();
    }
    this.#relink();
  }

  // Both sides of a probation have come back, in whichever order: if the one fails the other resumes.
  #relink(): void {
    for (const predecessor of this.#generations.values()) {
      const successor = this.#generations.get(predecessor.probationOf ?? 0);
      if (successor === undefined || successor.servingSince === undefined || !predecessor.isReachable)
        continue;
      predecessor.probationOf = undefined;
      successor.predecessor = predecessor;
      this.#beginProbation(successor, predecessor);
    }
  }

  #listenTo(generation: GenerationProcess, channel: Channel): void {
    channel.on('hold', ({ listener }, incoming) => {
      const [fd] = incoming.take();
      if (fd !== undefined) this.held.hold(listener, fd);
      else
        this.#log.error(
          `no copy of ${listener.name} could be kept: this process may open no more descriptors`,
        );
    });
    channel.on('release', ({ name }) => this.held.release(name));
    channel.on('ready', ({ claims }) => this.#ready(generation, claims));
    channel.on('committed', () => {});
    channel.on('serving', ({ epoch, said }) => this.#serving(generation, epoch, said));
    channel.on('progress', ({ generation: number, stage, facts }) => {
      const successor = this.#generations.get(number);
      if (stage === 'confirm') this.#confirmed(number);
      if (successor === undefined) return;
      this.#stageOf(successor, stage, facts);
      if (stage === 'ready') this.#check(generation, successor);
      // The successor says so itself, unless it hangs just then: its probation must begin all the same.
      if (stage === 'commit' && !successor.isEnding) this.#serving(successor, this.#epoch + 1, false);
    });
    channel.on('aborted', ({ generation: number, error }) =>
      this.#failed(number, MoultError.from(error), false),
    );
    channel.on('undone', ({ generation: number, error, alive }) => {
      this.#current = generation;
      this.#failed(number, MoultError.from(error), alive);
    });
    channel.on('drained', ({ report }) => this.#drained(generation, report));
  }

  // Before commit, while the gate is shut: a wrong answer ends the handover, and no client has seen it.
  #check(predecessor: GenerationProcess, successor: GenerationProcess): void {
    if (!successor.settings.checked || this.#options.check === null) return;
    this.#makeCheck(successor).then(
      () => {
        this.#stageOf(successor, 'check', {});
        predecessor.lifeline?.send({ type: 'proceed', generation: successor.number });
      },
      (error) => {
        const told = asMoultError(error, 'MOULT_CHECK_FAILED');
        predecessor.lifeline?.send({ type: 'abort', error: told.report() });
      },
    );
  }

  async #makeCheck(generation: GenerationProcess): Promise<void> {
    const { check } = this.#options;
    if (check === null) return;
    const isTls = this.held.describe().items[0]?.ticketKeys !== undefined;
    await runCheck(generation, check, isTls, this.#folder.path);
  }

  // Where there is no predecessor, or it is gone, the supervisor gives the commit.
  #ready(generation: GenerationProcess, claims: Message<'ready'>['claims']): void {
    generation.claims = new Set(claims.map(({ name }) => name));
    if (generation.livingPredecessor === undefined && generation.servingSince === undefined)
      this.#commit(generation);
  }

  #commit(generation: GenerationProcess): void {
    this.#epoch += 1;
    generation.lifeline?.send({ type: 'commit', epoch: this.#epoch });
    if (generation.claims !== undefined) this.held.keepOnly(generation.claims);
  }

  #serving(generation: GenerationProcess, epoch: number, said: boolean): void {
    this.#saysReady ||= said;
    if (generation.servingSince !== undefined) return;
    generation.servingSince = wallClockMs();
    this.#epoch = Math.max(this.#epoch, epoch);
    this.#current = generation;
    // From now on our death must not reach its output: a write to a closed pipe would end that for good.
    generation.lifeline?.send({ type: 'direct-output' });
    this.#onServing.get(generation.number)?.();
    this.#onServing.delete(generation.number);
    this.#journal.write({ event: 'serving', generation: generation.number, epoch: this.#epoch });
    const predecessor = generation.livingPredecessor;
    if (predecessor === undefined) {
      this.#prove(generation);
      const { size } = this.held;
      const what = `${size} listener${size === 1 ? '' : 's'}`;
      this.#log.info(`generation ${generation.number} serves ${what} (process ${generation.servicePid})`);
    } else {
      this.#limit(predecessor);
      this.#beginProbation(generation, predecessor);
    }
    if (this.#handover?.successor === generation) this.#handover.committed();
    this.#settle();
  }

  #beginProbation(successor: GenerationProcess, predecessor: GenerationProcess): void {
    this.#probation?.watch.stop();
    let settle!: (error?: MoultError) => void;
    const outcome = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    outcome.catch(() => {});
    const watch = new ProbationWatch({
      successor,
      predecessor,
      options: this.#options,
      check: () => this.#makeCheck(successor),
      fail: (error) => this.#undo(predecessor, successor, error),
    });
    this.#probation = { successor, predecessor, watch, outcome, settle };
  }

  #undo(predecessor: GenerationProcess, successor: GenerationProcess, error: MoultError): void {
    successor.isUndone = true;
    predecessor.lifeline?.send({ type: 'undo', error: error.report() });
  }

  #endProbation(number: number, error?: MoultError): void {
    if (this.#probation?.successor.number !== number) return;
    this.#probation.watch.stop();
    this.#probation.settle(error);
    this.#probation = undefined;
  }

  #confirmed(number: number): void {
    const inProbation = this.#probation?.successor;
    this.#endProbation(number);
    const successor = this.#generations.get(number);
    if (successor !== undefined) {
      successor.predecessor = undefined;
      this.#prove(successor);
    } else if (inProbation !== undefined && this.#isForsaken() && !this.#isStopping()) {
      // It died in the same moment, when its predecessor was still thought able to resume.
      this.#revive(inProbation, 'ended');
    }
  }

  // It has proved itself: a crash or a rollback may come back to it.
  #prove(generation: GenerationProcess): void {
    this.#releases.proved(generation.release);
    this.#journal.write({ event: 'confirmed', generation: generation.number, epoch: this.#epoch });
  }

  // A predecessor ends itself when it has drained; one that is hung is ended all the same.
  #limit(generation: GenerationProcess): void {
    const { drainTimeoutMs, probationMs, stopTimeoutMs } = this.#options;
    const timer = setTimeout(() => {
      if (this.#current === generation) return;
      this.#log.warn(`generation ${generation.number} did not end in time and is killed`);
      generation.kill();
    }, Math.max(drainTimeoutMs, probationMs) + stopTimeoutMs);
    timer.unref();
    generation.exited.then(() => clearTimeout(timer));
  }

  #drained(generation: GenerationProcess, report: DrainReport): void {
    const { number } = generation;
    const { stopTimeoutMs } = this.#options;
    generation.isEnding = true;
    this.#journal.write({ event: 'drained', generation: number, ...report });
    for (const { peer, ageMs, reason } of report.cut) {
      this.#log.warn(
        `generation ${number}: cut the connection of ${peer} after ${Math.round(ageMs)} ms: ${reason}`,
      );
    }
    this.#log.debug(
      `generation ${number} has drained: ${report.moved} moved, ${report.drained} ended, ${report.cut.length} cut`,
    );
    const timer = setTimeout(() => {
      this.#log.warn(
        `generation ${number} did not end within ${stopTimeoutMs} ms of its stop signal and is killed`,
      );
      generation.kill();
    }, stopTimeoutMs);
    generation.exited.then(() => clearTimeout(timer));
  }

  #failed(number: number, error: MoultError, alive: boolean): void {
    // It may have exited, and be forgotten, before its predecessor tells.
    const successor = this.#generations.get(number);
    const wasInProbation = this.#probation?.successor.number === number;
    this.#endProbation(number, error);
    if (successor !== undefined) successor.isEnding = true;
    const wasServing = wasInProbation || successor?.servingSince !== undefined;
    if (wasServing) {
      this.#journal.write({ event: 'undone', generation: number, code: error.code, message: error.message });
    }
    if (this.#handover?.successor.number === number && !this.#handover.isSettled)
      this.#handover.fail(error, alive);
    else if (wasServing) {
      const what = `generation ${number} was undone (${error.message})`;
      this.#log.error(`${what}; generation ${this.#current?.number} serves again`);
    }
    if (successor !== undefined && alive) this.#limit(successor);
    else successor?.kill();
    this.#settle();
  }

  #exited(generation: GenerationProcess, exit: Exit): void {
    this.#generations.delete(generation.number);
    this.#journal.write({
      event: 'exited',
      generation: generation.number,
      code: exit.code,
      signal: exit.signal,
    });
    generation.lifeline?.close();
    // One that was killed could not remove it itself.
    if (generation.door !== undefined) rmSync(generation.door, { force: true });
    // What the tree left behind, such as a service whose wrapper was ended.
    generation.kill();
    const successor = [...this.#generations.values()].find(
      (one) => one.predecessor === generation && !one.isEnding,
    );
    const hasHeir = successor !== undefined && successor.servingSince === undefined;
    // The predecessor died before it had committed: the successor takes over as soon as it is ready.
    if (hasHeir && successor.claims !== undefined) this.#commit(successor);
    if (successor !== undefined && !hasHeir) {
      // There is nobody left to go back to.
      if (this.#probation?.predecessor === generation) this.#confirmed(successor.number);
      if (this.#handover?.successor === successor) this.#handover.predecessorLost();
    }
    if (this.#isStopping()) return;
    if (generation === this.#current) this.#crashed(generation, exit, hasHeir);
    else if (this.#releases.lastGood() === undefined && this.#starting() === undefined) {
      const why = exit.code === 127 ? `: ${generation.tree.output.lines().at(-1) ?? ''}` : '';
      this.#log.error(`the service ${describeExit(exit)} before it was ready${why}`);
      this.#finish(exit.code === null || exit.code === 0 ? 1 : exit.code);
    } else if (this.#isForsaken()) this.#revive(generation, describeExit(exit));
    else if (generation.servingSince !== undefined && !generation.isEnding) {
      this.#log.warn(`generation ${generation.number} ${describeExit(exit)} while it was draining`);
    }
  }

  #crashed(generation: GenerationProcess, exit: Exit, hasHeir: boolean): void {
    // Its predecessor is in probation and resumes: it says so itself.
    this.#current = undefined;
    if (this.#probation?.successor === generation && this.#probation.predecessor.isReachable) return;
    // One that was told to hand back, or has drained, did not end by its own will.
    const hasChosen = !generation.isEnding && !generation.isUndone;
    const isOver = hasChosen && exit.code === 0 && this.#options.restart === 'on-failure';
    if (!hasHeir && (isOver || (hasChosen && this.#options.restart === 'never'))) {
      this.#log.info(`the service ${describeExit(exit)} and is over`);
      this.#exitCode = exit.code ?? 1;
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
    const release = this.#releases.lastGood() ?? generation.release;
    const servedMs = generation.servingSince === undefined ? 0 : wallClockMs() - generation.servingSince;
    const waitMs = this.#backoff.next(servedMs);
    this.#state = 'waiting';
    const when = waitMs === 0 ? 'now' : `in ${waitMs} ms`;
    this.#log.error(
      `generation ${generation.number} ${what}; clients wait in the backlog, the last good release starts ${when}`,
    );
    this.#backoffTimer = setTimeout(() => {
      const next = this.#spawn(release, settingsOf(this.#options, true, this.#saysReady));
      next.exited.then((exit) => {
        if (next.servingSince === undefined && !next.isEnding && this.#state === 'waiting') {
          this.#revive(next, describeExit(exit));
        }
      });
    }, waitMs);
  }

  /** Whether nobody serves, starts, is waited for, or will resume. */
  #isForsaken(): boolean {
    const resumes = this.#probation !== undefined && this.#probation.predecessor.exit === undefined;
    return (
      this.#current === undefined && this.#state !== 'waiting' && this.#starting() === undefined && !resumes
    );
  }

  #stageOf(generation: GenerationProcess, stage: string, facts: Record<string, unknown>): void {
    if (this.#handover?.successor === generation) this.#handover.stage(stage, facts);
  }

  #tell(event: StageEvent): void {
    const { type, at, ...entry } = event;
    this.#journal.write({ event: type, at, ...entry });
    for (const watch of this.#watchers) watch(event);
  }

  #settle(): void {
    if (this.#isStopping()) return;
    if (this.#current === undefined) {
      if (this.#state !== 'waiting') this.#state = 'starting';
    } else this.#state = this.#replacing === undefined ? 'serving' : 'restarting';
  }

  // The one in probation is not counted: a restart ends its probation, and with it usually its life.
  #draining(): GenerationProcess[] {
    return [...this.#generations.values()].filter(
      (one) =>
        one !== this.#current && one !== this.#probation?.predecessor && one.servingSince !== undefined,
    );
  }

  /** A generation that has been started and does not serve yet. */
  #starting(): GenerationProcess | undefined {
    return [...this.#generations.values()].findLast((one) => one.servingSince === undefined && !one.isEnding);
  }

  #isStopping(): boolean {
    return this.#state === 'stopping' || this.#state === 'stopped';
  }

  #finish(code: number): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    clearTimeout(this.#backoffTimer);
    this.#door?.close();
    this.#end(code);
  }
}
