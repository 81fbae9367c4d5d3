/*
 * Each method is a transition of one state machine (lifecycle/handover-states.ts): cut in two, the halves would share every
 * field. What leaves is in leave.ts; state and tasks are in giving.ts and taking.ts.
 */
import { WINDOW_BYTES } from '../broadcast/link.js';
import { broadcastHub, knownHub } from '../broadcast/shared.js';
import type { Channel } from '../channel/channel.js';
import type { DrainTimes } from '../connections/drain.js';
import { endIdle, endIdleGently } from '../connections/idle.js';
import { Inflow } from '../connections/moving/inflow.js';
import { MoultError } from '../errors.js';
import { type HandoverState, step } from '../lifecycle/handover-states.js';
import { type Lack, lacks } from '../lifecycle/listener-names.js';
import type { Listener } from '../listeners/listener.js';
import { epochAfter, monotonicMs } from '../os/clock.js';
import { Deadline } from '../os/deadline.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import { classed } from '../protocol/durations.js';
import { MAX_DRAINING } from '../protocol/limits.js';
import type { DrainReport, GenerationState, Message, Settings } from '../protocol/messages.js';
import type { FlowPeer } from './flow-peer.js';
import { type GenerationContext, type Moves, movableClaims } from './generation-context.js';
import { Giving, passTasks } from './giving.js';
import { LateOpenings } from './late-openings.js';
import { Leave, type Work } from './leave.js';
import { meetPeerSlots, SharingOut, type Taker, takesAny } from './peer-slots.js';
import type { Returning } from './successor.js';
import { Taking } from './taking.js';
import type { AllSettled } from './threads.js';

/** How long a successor may take to open its gates once it is told to. */
const COMMIT_TIMEOUT_MS = 5000;
/** How long a commit waits for critical sections where the settings do not say. */
const BUSY_TIMEOUT_MS = 30_000;
/** How long the supervisor may take for all tries of a check; it keeps the time itself, this is for one that is gone. */
const CHECK_BACKSTOP_MS = 10 * 60_000;
/** How long a living successor may take to stop accepting when it must hand back; then it is ended. */
const HAND_BACK_TIMEOUT_MS = 2000;
/** How long the supervisor may take to look from outside; one that is gone does not keep two generations for ever. */
const VERIFY_TIMEOUT_MS = 20_000;
/** How long what one has said until its end may take to be heard. */
const LAST_WORDS_MS = 1000;
/** How long the process of a predecessor may take to end after its channel has closed. */
const END_TIMEOUT_MS = 2000;
const LOOK_MS = 10;
/** How long what it has handed back may take to be restored, where the settings do not say. */
const RESTORE_TIMEOUT_MS = 30_000;

/** What a predecessor tells of its handover. */
export interface PredecessorEvents {
  /** A stage was reached; facts are for the operator. */
  stage(stage: string, facts: Record<string, unknown>): void;
  /** The handover ended before commit; this generation has served all the time. */
  aborted(error: MoultError): void;
  /** The handover was undone after commit; this generation accepts again. @param alive whether the successor lives, and hands back what it has. */
  undone(error: MoultError, alive: boolean): void;
  /** What this generation has is the predecessor's, which serves again. */
  takenBack(): void;
  /** The predecessor, to which this generation was handing back, is gone: this one accepts again. */
  servesOn(): void;
  /** A listener that the successor did not claim was closed for good. */
  released(name: string): void;
  /** The successor is given a listener that the service has only opened now. */
  given(listener: Listener): void;
  /** Nothing is left to do here: the service may get its stop signal. */
  drained(report: DrainReport): void;
}

type Claims = Message<'ready'>['claims'];
type DrainSettings = Pick<Settings, 'drainTimeoutMs' | 'drainSpreadMs'>;
type Retirement = Omit<Message<'retire'>, 'type' | 'heirs'> & {
  /** Generations of other slots to which the connections go. */
  readonly heirs: readonly Taker[];
  /** Over how long what cannot move is told to go, where there are heirs to come back to. */
  readonly spreadMs: number;
};

/**
 * The giving end of a handover. It is the one that decides: until it says commit it serves, and when the
 * successor fails afterwards, within probation, it serves again.
 */
export class Predecessor {
  /** Connections that go to other slots while this generation serves. */
  readonly sharingOut: SharingOut;
  #context: GenerationContext;
  #events: PredecessorEvents;
  #state: HandoverState = 'serving';
  #settings: Settings | undefined;
  #generation = 0;
  #channel: Channel | undefined;
  #process: ProcessHandle | undefined;
  #limit: Deadline | undefined;
  #claims: Claims = [];
  /** What the successor said last that it is not ready for want of. */
  #missing: Lack | undefined;
  #theirTasks: readonly string[] = [];
  #theirThreads: readonly string[] = [];
  #giving: Giving | undefined;
  #late: LateOpenings | undefined;
  /** What comes from the successor: of tasks while it serves, all when it hands back. */
  #taking: Taking | undefined;
  #whenPartComes: () => void = () => {};
  #flows: FlowPeer | undefined;
  #pausedAtMs = 0;
  #leave: Leave | undefined;
  #retirement: Retirement | undefined;
  /** What gives timers and jobs to another slot. */
  #passing: Pick<Giving, 'isOver'> | undefined;
  #heirs: readonly Taker[] = [];
  #returning = new Set<Channel>();

  constructor(context: GenerationContext, events: PredecessorEvents) {
    this.#context = context;
    this.#events = events;
    this.sharingOut = new SharingOut(context);
  }

  /** What still ends here; undefined while this generation accepts. @param named whether the first of the connections are told. */
  draining(named: boolean): GenerationState['draining'] {
    const leave = this.#leave;
    if (leave === undefined) return undefined;
    const connections = named ? { connections: leave.connections(MAX_DRAINING) } : {};
    return { remaining: leave.remaining(), cutInMs: leave.cutInMs, ...connections };
  }

  get state(): HandoverState {
    return this.#state;
  }

  /** Whether a successor that was undone still hands connections back. */
  get isBeingFed(): boolean {
    return this.#returning.size > 0;
  }

  /** Expects a successor of this number; its time to be ready begins now. @throws MOULT_PROTOCOL_ORDER when one is expected already. */
  expect(generation: number, settings: Settings): void {
    this.#step('expect');
    this.#generation = generation;
    this.#settings = settings;
    this.#limit = new Deadline(settings.readyTimeoutMs, () => this.#readyTimeout());
  }

  /**
   * A process asks to take over.
   * @param number of the generation that it is; a stranger learns here what it has been given.
   * @throws MOULT_NOT_EXPECTED, MOULT_RESTART_IN_PROGRESS
   */
  receive(channel: Channel, hello: Message<'hello'>, number = hello.generation): void {
    const asked = `generation ${number ?? '?'} asked to take over`;
    if (this.#state !== 'expecting') {
      const code = this.#state === 'serving' ? 'MOULT_NOT_EXPECTED' : 'MOULT_RESTART_IN_PROGRESS';
      throw new MoultError(code, `${asked} while this one is ${this.#state}`);
    }
    if (number === undefined || number !== this.#generation) {
      throw new MoultError('MOULT_NOT_EXPECTED', `${asked}, expected was generation ${this.#generation}`);
    }
    const { items, descriptors } = this.#context.listeners.describe();
    const counted = this.#context.threads.counted(items);
    const told = hello.generation === undefined ? { generation: number } : {};
    const { epoch } = this.#context;
    const offers = { keeps: true, broadcasts: true, hearsMissing: true };
    channel.send({ type: 'inherit', epoch, listeners: counted, ...offers, ...told }, descriptors);
    broadcastHub().accept(channel);
    this.#step('hello');
    this.#channel = channel;
    this.#giving = new Giving(channel, this.#context, (error) => {
      if (this.#channel === channel) this.fail(error);
    });
    this.#late = new LateOpenings({
      listeners: this.#context.listeners,
      channel,
      takes: hello.takesLate === true,
      offered: items.map(({ name }) => name),
      given: (listener) => this.#events.given(listener),
    });
    this.#flows = this.#context.flows.join(channel);
    this.#process = new ProcessHandle(channel.peer.pid);
    channel.ref();
    channel.on('missing', (missing) => {
      this.#missing = missing;
    });
    channel.on('ready', (ready) => this.#ready(ready));
    channel.on('abort', ({ error }) => this.fail(MoultError.from(error)));
    // It is about to be replaced itself: its operator has decided.
    channel.on('confirm', () => this.confirm());
    channel.closed.then((reason) => {
      if (this.#channel === channel) this.#lost(reason);
    });
    this.#events.stage('inherit', { listeners: this.#context.listeners.sockets().length });
  }

  /** The service has opened a listener. @param isForClient whether for one of those that it has already. */
  opened(listener: Listener, isForClient: boolean): void {
    switch (this.#state) {
      case 'inheriting':
      case 'ready':
        this.#late?.opened(listener, isForClient);
        break;
      case 'committing':
      case 'probation':
      case 'verifying':
      case 'draining':
        this.#late?.openedAfterCommit(listener, isForClient, this.#state === 'draining');
        break;
      default:
    }
  }

  /** The supervisor has checked the successor of this number: commit. */
  proceed(generation: number): void {
    if (this.#state === 'ready' && generation === this.#generation) this.#commitWhenFree();
  }

  /**
   * Ends the handover, at any stage: before commit nothing has changed, within probation it is undone.
   * Once confirmed there is nothing to undo, and nothing happens.
   * @param generation the successor that is meant; nothing happens where it is another one.
   */
  fail(error: MoultError, generation = this.#generation): void {
    if (generation !== this.#generation) return;
    switch (this.#state) {
      case 'expecting':
      case 'inheriting':
      case 'ready':
        this.#abort(error);
        break;
      case 'committing':
        this.#undo(error, false);
        break;
      case 'probation':
      case 'verifying':
        this.#undo(error, this.#channel !== undefined && !this.#channel.isClosed);
        break;
      default:
    }
  }

  /** Ends probation: the successor has proved itself, or the operator has decided. @param andRetire has the successor retire, too. */
  confirm(andRetire = false): void {
    if (this.#state !== 'probation' && this.#state !== 'verifying') return;
    this.#step('confirm');
    this.#limit?.clear();
    this.#channel?.send({ type: 'confirm', retire: andRetire });
    this.#taking?.stop();
    this.#late?.flush();
    const claimed = new Set([...this.#claims.map(({ name }) => name), ...(this.#late?.given ?? [])]);
    this.#context.listeners.successorHas(claimed);
    // What the successor did not claim nobody will: that port closes now.
    for (const listener of this.#context.listeners.lasting()) {
      const isClaimed = claimed.has(listener.identity.name);
      this.#context.listeners.release(listener, !isClaimed);
      if (!isClaimed) this.#events.released(listener.identity.name);
    }
    this.#context.threads.confirm();
    this.#events.stage('confirm', {});
    this.#leave?.check();
  }

  /** Serves what is there to its end, without a successor: the listeners close everywhere, or only here. */
  retire(retirement: Retirement): void {
    switch (this.#state) {
      case 'committing':
      case 'undoing':
      case 'returning':
        this.#retirement = retirement;
        return;
      case 'probation':
      case 'verifying':
        for (const { channel } of retirement.heirs) channel.close();
        this.confirm();
        return;
      case 'expecting':
      case 'inheriting':
      case 'ready':
        this.#abort(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
        break;
      default:
    }
    if (this.#state !== 'serving') {
      for (const { channel } of retirement.heirs) channel.close();
      return;
    }
    this.#step('retire');
    this.#endTasks(retirement);
    this.#stopSharing();
    this.#heirs = retirement.heirs;
    const work = this.#work();
    this.#context.listeners.pause();
    if (retirement.heirs.length === 0) this.#context.listeners.closeMomentary();
    // A thread must not be accepting on a socket that is shut down.
    this.#context.threads.pause(() => this.#endRetired(retirement, work));
  }

  // Another slot goes on with timers and jobs, where it has such tasks.
  #endTasks({ heirs, timeoutMs }: Retirement): void {
    const { tasks } = this.#context;
    const heir = heirs.find(({ tasks: theirs = [] }) => theirs.length > 0);
    if (heir === undefined) tasks.end(timeoutMs);
    else this.#passing = passTasks(heir.channel, tasks, heir.tasks ?? [], timeoutMs);
  }

  #endRetired(retirement: Retirement, work: Work): void {
    for (const listener of this.#context.listeners.lasting()) {
      this.#context.listeners.release(listener, !retirement.keepOpen);
      if (!retirement.keepOpen) this.#events.released(listener.identity.name);
    }
    const { heirs, timeoutMs, spreadMs, keepOpen } = retirement;
    const doors = heirs.flatMap(({ threads = [] }) => threads);
    this.#context.threads.retire(timeoutMs, keepOpen === true, doors);
    if (heirs.length > 0) {
      this.#leaveTo(heirs, { timeoutMs, spreadMs }, work);
      return;
    }
    // Where the service will be there again in a moment, clients are to come to it unharmed.
    const end = keepOpen ? endIdleGently : endIdle;
    end(this.#context.connections, work.servers);
    // Nobody is there to come back to, so there is nothing to spread.
    this.#leaveTo([], { timeoutMs, spreadMs: 0 }, work);
  }

  /** This generation was a successor and must hand back: it accepts no more, and its connections go to the predecessor. */
  giveBack(channel: Channel, flows: FlowPeer, message: Message<'hand-back'>, returning: Returning): void {
    // Its own successor, which has not committed, would take over from one that serves no more.
    if (this.#state === 'expecting' || this.#state === 'inheriting' || this.#state === 'ready')
      this.#abort(new MoultError('MOULT_HANDOVER_ABORTED', 'its own predecessor serves again'));
    if (this.#state !== 'serving') return;
    this.#step('give-back');
    this.#stopSharing();
    const { listeners, threads } = this.#context;
    const work = this.#work();
    const giving = returning.giving ?? new Giving(channel, this.#context);
    this.#giving = giving;
    listeners.pause();
    this.#flows = flows;
    channel.ref();
    this.#channel = channel;
    // An older predecessor does not say that it serves.
    const isHeard = message.saysResumed === true;
    const isStill = () => this.#state === 'returning' && this.#channel === channel;
    const takenBack = () => {
      if (!isStill()) return;
      this.#step('taken-back');
      for (const listener of listeners.lasting()) listeners.release(listener, false);
      threads.confirm();
      this.#events.takenBack();
      this.#leave?.check();
    };
    channel.on('resumed', takenBack);
    let hasBegun = false;
    // It serves, or will: who cannot be told of anything any more must not serve beside it.
    const leaveAlone = () => {
      takenBack();
      giving.stop();
      this.#context.tasks.end(message.drainTimeoutMs);
      if (hasBegun) return;
      threads.retire(message.drainTimeoutMs, true, []);
      this.#leaveTo([], { timeoutMs: message.drainTimeoutMs, spreadMs: 0 }, work);
    };
    const taker = new ProcessHandle(channel.peer.pid);
    channel.closed.then(() => {
      if (this.#channel === channel) this.#leave?.stopMoving();
      if (!isStill()) {
        taker.close();
        return;
      }
      whenKnown(taker, (hasEnded) => {
        taker.close();
        if (!isStill()) return;
        if (hasEnded) this.#servesOn(returning);
        else leaveAlone();
      });
    });
    const giveBack = () => {
      if (!isStill() || channel.isClosed) return;
      hasBegun = true;
      flows.tell(listenersWithFlows(message.claims));
      channel.send({ type: 'handed-back', ...(isHeard ? { hearsResumed: true } : {}) });
      if (!isHeard) takenBack();
      giving.begin(message.tasks ?? [], message.drainTimeoutMs);
      threads.leave(message.threads ?? [], timesOf(message));
      this.#leaveToAll({ channel, claims: message.claims }, message.threads ?? [], timesOf(message), work);
    };
    threads.pause(() => returning.whenTaken(() => giving.giveBack(message, giveBack)));
  }

  // The predecessor has ended before it served: nobody else has what is here.
  #servesOn(returning: Returning): void {
    this.#context.threads.halt();
    this.#leave?.stop();
    this.#leave = undefined;
    for (const { channel } of this.#heirs) channel.close();
    this.#heirs = [];
    const giving = this.#giving;
    giving?.stop();
    this.#flows?.stopTelling();
    this.#forget();
    giving?.forget();
    this.#servesAgain((epoch) => {
      giving?.resumeTasks(epoch, []);
      returning.callOff(epoch);
      this.#events.servesOn();
    });
  }

  /** Called when connections no longer come from this generation's own predecessor. */
  feedEnded(): void {
    this.#leave?.check();
  }

  #ready({ claims, said, tasks, threads, taskParts }: Message<'ready'>): void {
    if (this.#state !== 'inheriting') return;
    this.#limit?.clear();
    if (this.#giving !== undefined) this.#giving.takesParts = taskParts === true;
    this.#claims = claims;
    this.#theirTasks = tasks ?? [];
    this.#theirThreads = threads ?? [];
    this.#step('ready');
    const closes = this.#notClaimed(claims);
    const lack = closes.length === 0 ? {} : { closes };
    this.#events.stage('ready', { claims: claims.length - claims.filter(isLate).length, said, ...lack });
    if (this.#settings?.checked !== true) {
      this.#commitWhenFree();
      return;
    }
    const late = 'the supervisor did not say whether the successor passed its check';
    this.#limit = new Deadline(CHECK_BACKSTOP_MS, () =>
      this.fail(new MoultError('MOULT_CHECK_FAILED', late)),
    );
  }

  // What the service must not be interrupted in comes first.
  #commitWhenFree(): void {
    this.#limit?.clear();
    const limitMs = this.#settings?.busyTimeoutMs ?? BUSY_TIMEOUT_MS;
    const channel = this.#channel;
    const late = `critical sections of the service were not over within ${limitMs} ms`;
    let isBehind = false;
    this.#limit = new Deadline(limitMs, () =>
      this.fail(isBehind ? behind(channel, limitMs) : new MoultError('MOULT_CRITICAL_SECTION', late)),
    );
    const isStill = () => this.#state === 'ready' && this.#channel === channel;
    const fail = (error: MoultError) => {
      if (isStill()) this.fail(error);
    };
    const commit = () =>
      this.#context.critical.whenNone(() => {
        if (isStill()) this.#commit();
      });
    // One that is behind before it has a client will be so for those that come to it.
    const keepUp = () => {
      const hub = knownHub();
      if (hub === undefined || channel === undefined) return commit();
      isBehind = true;
      hub.keepsUp(channel).then(() => {
        isBehind = false;
        commit();
      });
    };
    if (this.#giving === undefined) keepUp();
    else this.#giving.catchUp(keepUp, fail);
  }

  // What clients will find nobody on, unless the successor comes to listen on it after all.
  #notClaimed(claims: Claims): string[] {
    const claimed = new Set(claims.filter((claim) => !isLate(claim)).map(({ name }) => name));
    const { listeners } = this.#context;
    return listeners
      .sockets()
      .filter((listener) => this.#late?.isSettled(listener) !== true)
      .flatMap(({ identity }) => (identity.isMomentary || claimed.has(identity.name) ? [] : [identity.name]));
  }

  #stopSharing(): void {
    this.sharingOut.stop();
    this.#context.stickyRouter.stopHoming();
  }

  // From here to `committed` nobody accepts, and clients wait in the backlog.
  #commit(): void {
    this.#limit?.clear();
    this.#step('commit');
    this.#stopSharing();
    const stays = this.#late?.beforeCommit(new Set(this.#claims.map(({ name }) => name))) ?? [];
    // The supervisor's copy would be there when the service has closed its own.
    for (const { identity } of stays) this.#events.released(identity.name);
    this.#context.listeners.pause();
    this.#pausedAtMs = monotonicMs();
    const channel = this.#channel;
    channel?.on('committed', () => this.#committed());
    this.#context.threads.pause(() => {
      if (this.#state === 'committing' && this.#channel === channel) this.#giveRest(channel);
    });
  }

  #giveRest(channel: Channel | undefined): void {
    const isStill = () => this.#state === 'committing' && this.#channel === channel;
    const late = `the rest of the state was not handed over within ${COMMIT_TIMEOUT_MS} ms`;
    this.#limit = new Deadline(COMMIT_TIMEOUT_MS, () =>
      this.fail(new MoultError('MOULT_STATE_TIMEOUT', late)),
    );
    const fail = (error: MoultError) => {
      if (isStill()) this.fail(error);
    };
    if (this.#giving === undefined) this.#sayCommit();
    else this.#giving.finish(this.#theirTasks, () => isStill() && this.#sayCommit(), fail);
  }

  #sayCommit(): void {
    this.#limit?.clear();
    const tasks = this.#giving?.common(this.#theirTasks) ?? [];
    // Known to the successor before it receives.
    this.#flows?.tell(listenersWithFlows(this.#claims));
    // It counts from here on: the successor may have it although it is never heard of again.
    this.#context.epoch = epochAfter(this.#context.epoch);
    this.#sendCommit(tasks);
    const late = `the successor did not open its gates within ${COMMIT_TIMEOUT_MS} ms`;
    this.#limit = new Deadline(COMMIT_TIMEOUT_MS, () =>
      this.fail(new MoultError('MOULT_COMMIT_FAILED', late)),
    );
  }

  #sendCommit(tasks: readonly string[]): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    this.#whenPartComes = () => {};
    this.#taking = new Taking(channel, this.#context, tellKept, () => this.#whenPartComes());
    const mirrors = this.#context.state.wants('of tasks');
    const mirrored = mirrors.length === 0 ? {} : { mirrors };
    channel.send({ type: 'commit', epoch: this.#context.epoch, tasks: [...tasks], ...mirrored });
  }

  #committed(): void {
    if (this.#state !== 'committing' || this.#channel === undefined || this.#settings === undefined) return;
    this.#limit?.clear();
    this.#step('committed');
    const nobodyMs = monotonicMs() - this.#pausedAtMs;
    this.#events.stage('commit', { nobodyMs, ...this.#giving?.facts(this.#theirTasks) });
    const { drainTimeoutMs, probationMs } = this.#settings;
    this.#giving?.begin(this.#theirTasks, drainTimeoutMs);
    const taker = { channel: this.#channel, claims: this.#claims };
    const { threads } = this.#context;
    const times = timesOf(this.#settings);
    threads.leave(this.#theirThreads, times);
    this.#leaveToAll(taker, this.#theirThreads, times, this.#work(), (leave) => {
      Promise.all([leave.outflow?.settled, threads.settled()]).then(([, theirs]) =>
        this.#settled(leave, theirs),
      );
    });
    this.#limit = new Deadline(probationMs, () => this.#elapsed());
    if (this.#retirement !== undefined) this.confirm();
  }

  // Nothing has failed. Whether clients find the successor where they should is seen from outside only.
  #elapsed(): void {
    if (this.#settings?.looked !== true) {
      this.confirm();
      return;
    }
    this.#step('elapsed');
    this.#events.stage('verify', {});
    this.#limit = new Deadline(VERIFY_TIMEOUT_MS, () => this.confirm());
  }

  // What only threads of the other side serve goes to them. Until they have been met all is served here.
  #leaveToAll(
    taker: Taker,
    doors: readonly string[],
    times: DrainTimes,
    work: Work,
    then: (leave: Leave) => void = () => {},
  ): void {
    const taken = new Set(taker.claims.filter(takesAny).map(({ name }) => name));
    const isAllTaken = this.#context.listeners.streams().every(({ identity }) => taken.has(identity.name));
    if (doors.length === 0 || isAllTaken) {
      then(this.#leaveTo([taker], times, work));
      return;
    }
    meetPeerSlots(doors, this.#generation).then((met) => {
      const isStill = ['probation', 'verifying', 'returning', 'draining'].includes(this.#state);
      if (isStill && this.#channel === taker.channel) {
        this.#heirs = met;
        then(this.#leaveTo([taker, ...met], times, work));
      } else for (const { channel } of met) channel.close();
    });
  }

  #leaveTo(takers: readonly Taker[], times: DrainTimes, work: Work): Leave {
    const leave = new Leave(this.#context, work, {
      takers,
      times,
      flows: this.#flows,
      giving: this.#passing ?? this.#giving,
      isForGood: () => this.#state === 'draining',
      over: (report) => this.#over(report),
    });
    this.#leave = leave;
    return leave;
  }

  async #settled(leave: Leave, threads: AllSettled): Promise<void> {
    const { outflow } = leave;
    if (outflow === undefined || this.#leave !== leave) return;
    const draining =
      this.#context.threads.size === 0 ? 0 : (await this.#context.threads.counts()).connections;
    if (this.#leave !== leave) return;
    const pauses = [...outflow.pausesMs, ...threads.pausesMs].sort((a, b) => a - b);
    const failed = outflow.failed + threads.notRestored;
    const remaining = leave.remaining();
    this.#events.stage('connections', {
      moved: outflow.moved + threads.moved,
      ...(failed === 0 ? {} : { notRestored: failed }),
      ...(threads.silent === 0 ? {} : { silentThreads: threads.silent }),
      draining: this.#context.connections.size + draining,
      ...(remaining.length === 0 ? {} : { remaining }),
      longestPauseMs: pauses.at(-1) ?? 0,
      pauseP50Ms: pauses[Math.floor(pauses.length / 2)] ?? 0,
      pauseP99Ms: pauses[Math.floor(pauses.length * 0.99)] ?? 0,
      ...(pauses.length === 0 ? {} : { pauses: classed(pauses) }),
      ...drainedBecause(this.#context.moves),
    });
  }

  #work(): Work {
    const { listeners } = this.#context;
    return { servers: listeners.streams().map(({ server }) => server), datagrams: listeners.datagrams() };
  }

  #over(ours: DrainReport): void {
    this.#step('drained');
    const giving = this.#giving;
    this.#context.threads.endWith(ours, (report) => {
      const end = () => {
        giving?.stop();
        giving?.forget();
        this.#events.drained(report);
        for (const { channel } of this.#heirs) channel.close();
        this.#forget()?.close();
      };
      // What was sent here last is for clients that are elsewhere by now.
      const flush = () => {
        const hub = knownHub();
        if (hub === undefined) end();
        else hub.flushed().then(end);
      };
      if (giving === undefined) flush();
      else giving.end(flush);
    });
  }

  #abort(error: MoultError): void {
    const told = this.#tell(error);
    this.#channel?.send({ type: 'abort', error: told.report() });
    this.#step('fail');
    this.#giving?.stop();
    this.#giving?.forget();
    this.#forget()?.close();
    this.#events.aborted(told);
  }

  // The successor must accept no more before this side does: at every moment one of them does, never both.
  // One that lives says so itself, and gives its connections back; one that does not answer is ended first.
  #undo(error: MoultError, isAlive: boolean): void {
    const told = this.#tell(error);
    this.#step('fail');
    this.#context.threads.halt();
    this.#leave?.stop();
    this.#leave = undefined;
    for (const { channel: heir } of this.#heirs) heir.close();
    this.#heirs = [];
    this.#giving?.stop();
    this.#flows?.stopTelling();
    this.#limit?.clear();
    const channel = this.#channel;
    const giving = this.#giving;
    const taking = this.#taking;
    const restoreMs = this.#settings?.readyTimeoutMs ?? RESTORE_TIMEOUT_MS;
    let hasAnswered = false;
    // A restore that takes long may end when this undo is over, and another one is on.
    const isOn = () => this.#state === 'undoing' && this.#channel === channel;
    const resumeWithout = () => {
      if (!isOn() || hasAnswered) return;
      this.#forget()?.close();
      giving?.forget();
      this.#resume(told, false, (epoch) => giving?.resumeTasks(epoch, []));
    };
    const end = () => {
      if (!isOn() || hasAnswered) return;
      this.#process?.kill();
      if (taking === undefined || channel === undefined) {
        resumeWithout();
        return;
      }
      // What it has said of its tasks until its end is heard first.
      this.#limit?.clear();
      this.#limit = new Deadline(LAST_WORDS_MS, resumeWithout);
      if (channel.isClosed) taking.whenTaken(resumeWithout);
      else channel.closed.then(() => taking.whenTaken(resumeWithout));
    };
    if (!isAlive || channel === undefined || taking === undefined) {
      end();
      return;
    }
    const limit = () => {
      this.#limit?.clear();
      this.#limit = new Deadline(HAND_BACK_TIMEOUT_MS, end);
    };
    limit();
    channel.closed.then(end);
    const tasks = giving?.givenTasks ?? [];
    this.#whenPartComes = () => {
      if (isOn() && !hasAnswered) limit();
    };
    const resume = () => {
      if (!isOn()) return;
      this.#forget();
      giving?.forget();
      this.#resume(told, true, (epoch) => {
        // Before anybody else hears of it: from now on what this generation has is not the other's any more.
        if (isHeard) channel.send({ type: 'resumed' });
        giving?.resumeTasks(epoch, tasks);
        taking.expectTasks(epoch, tasks, (name) => giving?.givenWith(name));
      });
    };
    let isHeard = false;
    channel.on('handed-back', ({ hearsResumed }) => {
      if (!isOn() || hasAnswered) return;
      hasAnswered = true;
      isHeard = hearsResumed === true;
      channel.off('abort');
      // Connections follow at once, whatever the state that came before them still takes to be restored.
      this.takeFrom(channel, (then) => taking.whenTaken(then));
      this.#limit?.clear();
      this.#limit = new Deadline(restoreMs, () => {
        tellKept(new MoultError('MOULT_STATE_TIMEOUT', `state was not restored within ${restoreMs} ms`));
        resume();
      });
      taking.whenTaken(resume);
    });
    const claims = movableClaims(this.#context);
    const { drainTimeoutMs = 0, drainSpreadMs } = this.#settings ?? {};
    const spread = drainSpreadMs === undefined ? {} : { drainSpreadMs };
    const state = this.#context.state.wants();
    const threads = this.#context.doorsForThreads();
    const doors = threads.length === 0 ? {} : { threads };
    channel.send({
      type: 'hand-back',
      claims,
      drainTimeoutMs,
      ...spread,
      state,
      tasks,
      ...doors,
      taskParts: true,
      saysResumed: true,
    });
  }

  /**
   * Takes the connections that come through this channel: of a successor that was undone, or of another slot.
   * @param whenReady calls back when this side can serve them.
   */
  takeFrom(channel: Channel, whenReady?: (then: () => void) => void): void {
    this.#returning.add(channel);
    const { connections, listeners, stickyRouter } = this.#context;
    const inflow = new Inflow(
      channel,
      connections,
      (name) => listeners.serverOf(name),
      stickyRouter,
      whenReady,
    );
    channel.unref();
    inflow.over.then(() => {
      this.#returning.delete(channel);
      this.feedEnded();
    });
  }

  #resume(error: MoultError, alive: boolean, resumeTasks: (epoch: number) => void): void {
    this.#servesAgain((epoch) => {
      resumeTasks(epoch);
      this.#events.undone(error, alive);
    });
  }

  #servesAgain(then: (epoch: number) => void): void {
    this.#context.epoch = epochAfter(this.#context.epoch);
    this.#context.listeners.resume();
    this.#context.threads.open(this.#context.epoch);
    this.#step('resume');
    then(this.#context.epoch);
    if (this.#retirement !== undefined) this.retire(this.#retirement);
  }

  #lost(reason: MoultError | undefined): void {
    this.#leave?.stopMoving();
    if (reason?.code.startsWith('MOULT_PROTOCOL')) {
      this.fail(reason);
      return;
    }
    const isAfterCommit = ['committing', 'probation', 'verifying'].includes(this.#state);
    const code = isAfterCommit ? 'MOULT_SUCCESSOR_LOST' : 'MOULT_SUCCESSOR_EXITED';
    const why = reason === undefined ? 'it closed its connection' : reason.message;
    this.fail(new MoultError(code, `the successor was lost while ${this.#state}: ${why}`));
  }

  #readyTimeout(): void {
    const ms = this.#settings?.readyTimeoutMs;
    const what =
      this.#state === 'expecting'
        ? 'it never listened and never said that it is ready'
        : whyNotReady(this.#missing);
    this.fail(new MoultError('MOULT_READY_TIMEOUT', `the successor was not ready within ${ms} ms: ${what}`));
  }

  #tell(error: MoultError): MoultError {
    return new MoultError(error.code, error.message, {
      serving: 'predecessor',
      stage: this.#state,
      cause: error,
      ...(error.details === undefined ? {} : { details: error.details }),
    });
  }

  /** Lets go of the handover; the channel is the caller's to close. */
  #forget(): Channel | undefined {
    this.#limit?.clear();
    const channel = this.#channel;
    this.#channel = undefined;
    this.#process?.close();
    this.#process = undefined;
    this.#claims = [];
    this.#missing = undefined;
    this.#theirTasks = [];
    this.#theirThreads = [];
    this.#giving = undefined;
    this.#late?.stop();
    this.#late = undefined;
    this.#taking = undefined;
    this.#flows = undefined;
    return channel;
  }

  #step(event: Parameters<typeof step>[1]): void {
    this.#state = step(this.#state, event);
  }
}

// A channel that closes is heard of before the end of its process.
function whenKnown(one: ProcessHandle, then: (hasEnded: boolean) => void): void {
  if (one.hasEnded()) {
    then(true);
    return;
  }
  const tell = (hasEnded: boolean) => {
    clearInterval(look);
    limit.clear();
    then(hasEnded);
  };
  const look = setInterval(() => {
    if (one.hasEnded()) tell(true);
  }, LOOK_MS);
  const limit = new Deadline(END_TIMEOUT_MS, () => tell(one.hasEnded()));
}

function behind(channel: Channel | undefined, limitMs: number): MoultError {
  const bytes = channel === undefined ? 0 : (knownHub()?.waitingBytes(channel) ?? 0);
  const what = `expected the successor to deal with what is broadcast within ${limitMs} ms; ${bytes} bytes wait for it, and at most ${WINDOW_BYTES} are sent ahead`;
  return new MoultError('MOULT_BROADCAST_BEHIND', what);
}

function tellKept({ message }: MoultError): void {
  process.emitWarning(`handed back: ${message}; this generation keeps its own state`, 'MoultWarning');
}

function timesOf({ drainTimeoutMs, drainSpreadMs = 0 }: DrainSettings): DrainTimes {
  return { timeoutMs: drainTimeoutMs, spreadMs: drainSpreadMs };
}

function listenersWithFlows(claims: Claims): ReadonlySet<string> {
  return new Set(claims.filter(({ flows }) => flows === true).map(({ name }) => name));
}

function isLate({ late }: Claims[number]): boolean {
  return late === true;
}

function whyNotReady(missing: Lack | undefined): string {
  if (missing === undefined || missing.names.length === 0) {
    return 'it has not claimed all listeners of this generation, and has not said that it is ready';
  }
  return `it ${lacks(missing)}; use --allow-fewer-listeners if the new release listens on fewer addresses`;
}

function drainedBecause({ http1, tls = 'yes' }: Moves): { drainedBecause?: string } {
  if (http1 !== 'yes') return { drainedBecause: http1 };
  return tls === 'yes' ? {} : { drainedBecause: `TLS: ${tls}` };
}
