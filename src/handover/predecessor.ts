// Over 300 lines: each method is a transition of one state machine (lifecycle/handover-states.ts): halves would share every field.
import type { Channel } from '../channel/channel.js';
import { MoultError } from '../errors.js';
import { type HandoverState, step, table } from '../lifecycle/handover-states.js';
import type { Listener } from '../listeners/listener.js';
import { epochAfter, monotonicMs } from '../os/clock.js';
import type { DrainReport, GenerationState, Message, Settings } from '../protocol/messages.js';
import type { FlowPeer } from './flow-peer.js';
import type { GenerationContext } from './generation-context.js';
import { HandBack } from './hand-back.js';
import { LoadSharing } from './peer-slots.js';
import { beforeCommit, commit } from './predecessor/commit.js';
import { drainTimesOf } from './predecessor/departure.js';
import { Departures } from './predecessor/departures.js';
import { type AnnouncedSuccessor, HandoverAttempt, offerListeners } from './predecessor/handover-attempt.js';
import { asServing, notReady, successorLost } from './predecessor/handover-errors.js';
import { IncomingConnections } from './predecessor/incoming-connections.js';
import { lastWords } from './predecessor/last-words.js';
import { letInFallback } from './predecessor/let-in-fallback.js';
import { tellMoved } from './predecessor/moved-facts.js';
import type { PredecessorEvents } from './predecessor/predecessor-events.js';
import { endListeners, endTasks, leaveListeners, type Retirement } from './predecessor/retirement.js';
import { awaitLook, StageLimit } from './predecessor/stage-timer.js';
import { Undo } from './predecessor/undo.js';
import type { Returning } from './successor.js';

/** How long the supervisor may take for all tries of a check; it keeps the time itself, this is for one that is gone. */
const CHECK_BACKSTOP_MS = 10 * 60_000;

const BEFORE_COMMIT: readonly HandoverState[] = ['expecting', 'inheriting', 'ready'];
const ON_PROBATION: readonly HandoverState[] = ['probation', 'verifying'];

/**
 * The giving end of a handover. It is the one that decides: until it says commit it serves, and when the
 * successor fails afterwards, within probation, it serves again.
 */
export class Predecessor {
  /** Connections that go to other slots while this generation serves. */
  readonly loadSharing: LoadSharing;
  /** What comes from a successor that was undone, and from other slots. */
  readonly feeds: IncomingConnections;
  readonly #context: GenerationContext;
  readonly #events: PredecessorEvents;
  readonly #leaving: Departures;
  #state: HandoverState = 'serving';
  #expected: AnnouncedSuccessor | undefined;
  /** From the hello of a successor on. */
  #attempt: HandoverAttempt | undefined;
  /** While its own predecessor takes back what is here. */
  #handBack: HandBack | undefined;
  /** Asked for when it could not begin. */
  #retirement: Retirement | undefined;

  constructor(context: GenerationContext, events: PredecessorEvents) {
    this.#context = context;
    this.#events = events;
    this.loadSharing = new LoadSharing(context);
    this.#leaving = new Departures(
      context,
      () => this.#state === 'draining',
      (report) => this.#over(report),
    );
    this.feeds = new IncomingConnections(context, () => this.feedEnded());
  }

  /** What still ends here; undefined while this generation accepts. @param named whether the first of the connections are told. */
  draining(named: boolean): GenerationState['draining'] {
    return this.#leaving.draining(named);
  }

  get state(): HandoverState {
    return this.#state;
  }

  /** Whether a successor that was undone, or another slot, still sends connections. */
  get isBeingFed(): boolean {
    return this.feeds.isOpen;
  }

  /** Expects a successor of this number; its time to be ready begins now. @throws MOULT_PROTOCOL_ORDER when one is expected already. */
  expect(generation: number, settings: Settings): void {
    this.#step('expect');
    const limit = new StageLimit();
    this.#expected = { generation, settings, limit };
    limit.set(settings.readyTimeoutMs, () =>
      this.fail(notReady(settings.readyTimeoutMs, this.#attempt?.missing, this.#state)),
    );
  }

  /**
   * A process asks to take over.
   * @param number of the generation that it is; a stranger learns here what it has been given.
   * @throws MOULT_NOT_EXPECTED, MOULT_RESTART_IN_PROGRESS
   */
  receive(channel: Channel, hello: Message<'hello'>, number = hello.generation): void {
    const asked = `generation ${number ?? '?'} asked to take over`;
    const expected = this.#expected;
    if (this.#state !== 'expecting' || expected === undefined) {
      const code = this.#state === 'serving' ? 'MOULT_NOT_EXPECTED' : 'MOULT_RESTART_IN_PROGRESS';
      throw new MoultError(code, `${asked} while this one is ${this.#state}`);
    }
    if (number === undefined || number !== expected.generation) {
      throw new MoultError('MOULT_NOT_EXPECTED', `${asked}, expected was generation ${expected.generation}`);
    }
    const told = hello.generation === undefined ? number : undefined;
    const offered = offerListeners(this.#context, channel, told);
    this.#step('hello');
    const terms = { offered, takesLate: hello.takesLate === true };
    const attempt: HandoverAttempt = new HandoverAttempt(expected, channel, this.#context, terms, {
      state: () => this.#state,
      given: (listener) => this.#events.given(listener),
      passedBy: () => this.#passedBy(attempt),
      ready: (ready) => this.#ready(attempt, ready),
      failed: (error) => this.fail(error),
      // It is about to be replaced itself: its operator has decided.
      confirmed: () => this.confirm(),
      lost: (reason) => this.#lost(reason),
    });
    this.#attempt = attempt;
    this.#events.stage('inherit', { listeners: this.#context.listeners.sockets().length });
  }

  /** A later generation takes what this one tells, if the one that it tells is gone. @throws MOULT_NOT_EXPECTED */
  letIn(channel: Channel): void {
    letInFallback(this.#state, (this.#attempt ?? this.#handBack)?.giving, channel);
  }

  /** The service has opened a listener. @param isForClient whether for one of those that it has already. */
  opened(listener: Listener, isForClient: boolean): void {
    this.#attempt?.late.openedWhile(this.#state, listener, isForClient);
  }

  /** The supervisor has checked the successor of this number: commit. */
  proceed(generation: number): void {
    const attempt = this.#attempt;
    if (attempt?.isStill('ready') && generation === attempt.generation) this.#commitWhenFree(attempt);
  }

  /**
   * Ends the handover, at any stage: before commit nothing has changed, within probation it is undone.
   * Once confirmed there is nothing to undo, and nothing happens.
   * @param generation the successor that is meant; nothing happens where it is another one.
   */
  fail(error: MoultError, generation = this.#expected?.generation): void {
    if (generation !== this.#expected?.generation) return;
    if (BEFORE_COMMIT.includes(this.#state)) this.#abort(error);
    else if (this.#state === 'committing') this.#undo(error, false);
    else if (ON_PROBATION.includes(this.#state)) this.#undo(error, true);
  }

  /** Ends probation: the successor has proved itself, or the operator has decided. @param andRetire has the successor retire, too. */
  confirm(andRetire = false): void {
    const attempt = this.#attempt;
    if (attempt === undefined || !attempt.isStill(...ON_PROBATION)) return;
    this.#step('confirm');
    attempt.limit.clear();
    attempt.channel.send({ type: 'confirm', retire: andRetire });
    attempt.taking?.stop();
    attempt.late.flush();
    leaveListeners(this.#context, attempt, (name) => this.#events.released(name));
    this.#context.threads.confirm();
    this.#events.stage('confirm', {});
    this.#leaving.check();
  }

  /** Serves what is there to its end, without a successor: the listeners close everywhere, or only here. */
  retire(retirement: Retirement): void {
    const { heirs } = retirement;
    if (table[this.#state].accepts === 'none') {
      this.#retirement = retirement;
      return;
    }
    if (BEFORE_COMMIT.includes(this.#state))
      this.#abort(new MoultError('MOULT_STOPPING', 'the service is being stopped'));
    if (this.#state !== 'serving') {
      for (const { channel } of heirs) channel.close();
      this.confirm();
      return;
    }
    this.#step('retire');
    const giving = endTasks(this.#context, retirement);
    this.#stopSharing();
    const { listeners, threads } = this.#context;
    const work = this.#leaving.work();
    listeners.pause();
    if (heirs.length === 0) listeners.closeMomentary();
    // Where nobody is there to come back to there is nothing to spread.
    const times = { timeoutMs: retirement.timeoutMs, spreadMs: heirs.length === 0 ? 0 : retirement.spreadMs };
    // A thread must not be accepting on a socket that is shut down.
    threads.pause(() => {
      endListeners(this.#context, retirement, work, (name) => this.#events.released(name));
      this.#leaving.begin(work, { takers: heirs, heirs, times, flows: undefined, giving });
    });
  }

  /** This generation was a successor and must hand back: it accepts no more, and its connections go to the predecessor. */
  giveBack(channel: Channel, flows: FlowPeer, message: Message<'hand-back'>, returning: Returning): void {
    // Its own successor, which has not committed, would take over from one that serves no more.
    if (BEFORE_COMMIT.includes(this.#state))
      this.#abort(new MoultError('MOULT_HANDOVER_ABORTED', 'its own predecessor serves again'));
    if (this.#state !== 'serving') return;
    this.#step('give-back');
    this.#stopSharing();
    const work = this.#leaving.work();
    const handBack: HandBack = new HandBack({ channel, flows }, message, returning, this.#context, {
      state: () => this.#state,
      takenBack: () => this.#takenBack(),
      servesOn: () => this.#servesOn(handBack),
      leave: (to) => this.#leaving.beginTo(to, work, this.#expected?.generation ?? 0),
      stopMoving: () => this.#leaving.stopMoving(),
    });
    this.#handBack = handBack;
    this.#context.listeners.pause();
    handBack.begin();
  }

  #takenBack(): void {
    const { listeners, threads } = this.#context;
    this.#step('taken-back');
    for (const listener of listeners.lasting()) listeners.release(listener, false);
    threads.confirm();
    this.#events.takenBack();
    if (this.#retirement !== undefined) this.retire(this.#retirement);
    this.#leaving.check();
  }

  #servesOn(handBack: HandBack): void {
    this.#stay(handBack);
    handBack.end();
    this.#handBack = undefined;
    handBack.giving.forget();
    this.#servesAgain((epoch) => {
      handBack.callOff(epoch);
      this.#events.servesOn();
    });
  }

  /** Called when connections no longer come from this generation's own predecessor. */
  feedEnded(): void {
    this.#leaving.check();
  }

  #passedBy(attempt: HandoverAttempt): void {
    if (!attempt.isStill('inheriting')) return;
    this.#step('pass-by');
    attempt.callOff();
    this.#attempt = undefined;
  }

  #ready(attempt: HandoverAttempt, ready: Message<'ready'>): void {
    if (!attempt.isStill('inheriting')) return;
    attempt.limit.clear();
    attempt.learn(ready);
    const { claims, said } = ready;
    this.#step('ready');
    // What clients will find nobody on, unless the successor comes to listen on it after all.
    const closes = attempt.late.notClaimed(claims);
    const lack = closes.length === 0 ? {} : { closes };
    const claimed = claims.filter(({ late }) => late !== true).length;
    this.#events.stage('ready', { claims: claimed, said, ...lack });
    const late = 'the supervisor did not say whether the successor passed its check';
    if (attempt.settings.checked !== true) this.#commitWhenFree(attempt);
    else attempt.limit.set(CHECK_BACKSTOP_MS, () => this.fail(new MoultError('MOULT_CHECK_FAILED', late)));
  }

  #commitWhenFree(attempt: HandoverAttempt): void {
    const fail = (error: MoultError) => this.fail(error);
    beforeCommit(this.#context, attempt, () => this.#commit(attempt), fail);
  }

  #stopSharing(): void {
    this.loadSharing.stop();
    this.#context.stickyRouter.stopRelocating();
  }

  // From here to `committed` nobody accepts, and clients wait in the backlog.
  #commit(attempt: HandoverAttempt): void {
    attempt.limit.clear();
    this.#step('commit');
    this.#stopSharing();
    const stays = attempt.late.beforeCommit(new Set(attempt.claims.map(({ name }) => name)));
    // The supervisor's copy would be there when the service has closed its own.
    for (const { identity } of stays) this.#events.released(identity.name);
    this.#context.listeners.pause();
    attempt.pausedAtMs = monotonicMs();
    attempt.channel.on('committed', () => this.#committed(attempt));
    this.#context.threads.pause(() => {
      if (attempt.isStill('committing')) commit(this.#context, attempt, (error) => this.fail(error));
    });
  }

  #committed(attempt: HandoverAttempt): void {
    if (!attempt.isStill('committing')) return;
    const { channel, claims, flows, giving, limit, settings, tasks, threads: doors } = attempt;
    limit.clear();
    this.#step('committed');
    const nobodyMs = monotonicMs() - attempt.pausedAtMs;
    this.#events.stage('commit', { nobodyMs, ...giving.facts(tasks) });
    giving.begin(tasks, settings.drainTimeoutMs);
    const { threads } = this.#context;
    const times = drainTimesOf(settings);
    threads.leave(doors, times);
    const isStill = () => attempt.isStill(...ON_PROBATION, 'draining');
    const to = { taker: { channel, claims }, doors, times, flows, giving, isStill };
    this.#leaving.beginTo(to, this.#leaving.work(), attempt.generation, (leave) => {
      const tell = (facts: Record<string, unknown>) => this.#events.stage('connections', facts);
      leave.told = Promise.all([leave.outflow?.settled, threads.settled()]).then(([, theirs]) =>
        tellMoved(this.#context, leave, theirs, tell),
      );
    });
    limit.set(settings.probationMs, () => this.#elapsed(attempt));
    if (this.#retirement !== undefined) this.retire(this.#retirement);
  }

  // Nothing has failed. Whether clients find the successor where they should is seen from outside only.
  #elapsed({ limit, settings }: HandoverAttempt): void {
    if (settings.looked !== true) {
      this.confirm();
      return;
    }
    this.#step('elapsed');
    awaitLook(limit, this.#events, () => this.confirm());
  }

  #over(ours: DrainReport): void {
    this.#step('drained');
    const other = this.#attempt ?? this.#handBack;
    lastWords(this.#context, other?.giving, ours, (report) => {
      this.#events.drained(report);
      this.#leaving.closeHeirs();
      other?.end();
      other?.channel.close();
    });
  }

  #abort(error: MoultError): void {
    const told = asServing(error, this.#state);
    const attempt = this.#attempt;
    attempt?.channel.send({ type: 'abort', error: told.report() });
    this.#step('fail');
    attempt?.callOff();
    this.#forget();
    this.#events.aborted(told);
  }

  #undo(error: MoultError, mayAnswer: boolean): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    const told = asServing(error, this.#state);
    this.#step('fail');
    this.#stay(attempt);
    attempt.limit.clear();
    const undo = new Undo(attempt, {
      context: this.#context,
      feeds: this.feeds,
      resume: (alive, resumeTasks) => {
        attempt.flows.stopTelling();
        this.#forget();
        this.#servesAgain((epoch) => {
          resumeTasks(epoch);
          this.#events.undone(told, alive);
        });
      },
    });
    undo.begin(mayAnswer && attempt.isConnected);
  }

  // What was leaving stays.
  #stay({ giving }: HandoverAttempt | HandBack): void {
    this.#context.threads.halt();
    this.#leaving.stop();
    giving.stop();
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
    this.#leaving.stopMoving();
    this.fail(successorLost(this.#state, reason));
  }

  /** The handover is over: nothing that still comes of it changes anything. */
  #forget(): void {
    this.#attempt?.end();
    this.#attempt = undefined;
    this.#expected?.limit.clear();
    this.#expected = undefined;
  }

  #step(event: Parameters<typeof step>[1]): void {
    this.#state = step(this.#state, event);
  }
}
