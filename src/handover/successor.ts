/*
 * Over 300 lines: each method is what one message of the handover means on this side, and they share most fields.
 */
import { broadcastHub } from '../broadcast/shared.js';
import type { Channel } from '../channel/channel.js';
import type { Line } from '../channel/line.js';
import { Inflow } from '../connections/adopting/inflow.js';
import { MoultError } from '../errors.js';
import type { ListenerItem, Message } from '../protocol/messages.js';
import { EarlierGenerations } from './earlier-generations.js';
import type { FlowPeer } from './flow-peer.js';
import { type GenerationContext, movableClaims } from './generation-context.js';
import { Giving } from './giving.js';
import { Taking } from './taking.js';

/** How what this generation has goes back. */
export interface Returning {
  /** What has told the predecessor of changes so far. */
  readonly giving: Giving | undefined;
  /** Calls back once all that the predecessor has sent is taken. */
  whenTaken(callback: () => void): void;
  /** Nothing goes back: the predecessor is gone. What it had begins here. */
  callOff(epoch: number): void;
  /** The predecessor serves. */
  takenBack(): void;
}

/** What a successor tells of its handover. */
export interface SuccessorEvents {
  /** This generation accepts from now on. */
  committed(): void;
  /** The handover was called off before commit; this generation will be ended. */
  aborted(error: MoultError): void;
  /** The predecessor serves again: what this generation has goes back through this channel. */
  handBack(channel: Channel, flows: FlowPeer, message: Message<'hand-back'>, returning: Returning): void;
  /** The predecessor was told to stop the service, which is this generation's by now. */
  retire(): void;
  /** The predecessor's service has opened one more. @param waits whether this generation is to have it. */
  lateListener(item: ListenerItem, fd: number, waits: boolean): void;
  /** There is no way back to the predecessor. */
  confirmed(): void;
  /** The predecessor is gone, or has nothing more to give. */
  ended(): void;
}

/** What a predecessor shares; an older release of moult may lack some. */
export interface Offers {
  /** Whether state and tasks can be asked for. */
  readonly keeps?: boolean | undefined;
  /** Whether broadcasts can be shared. */
  readonly broadcasts?: boolean | undefined;
  /** Where it lets in whoever takes over from this generation. */
  readonly door?: string | undefined;
  /** Where those do that still tell it what changes there. */
  readonly earlier?: readonly string[] | undefined;
  /** Whether it hears what this generation is not ready for want of. */
  readonly hearsMissing?: boolean | undefined;
}

function warnOfOlder(): void {
  const what =
    'the predecessor runs an older release of moult: broadcasts do not reach its clients, and its broadcasts do not reach ours';
  process.emitWarning(what, { type: 'MoultWarning', code: 'MOULT_BROADCAST_INCOMPLETE' });
}

/** The taking end of a handover: its listeners stay gated until commit, then connections come. */
export class Successor {
  #context: GenerationContext;
  #events: SuccessorEvents;
  #lines = new Set<Line>();
  /** A predecessor to which it may not be said that this process passes by. */
  #deaf: Channel | undefined;
  #feeds = new Set<Channel>();
  /** What state and tasks come by, and the channel that they come by. */
  #taking: Taking | undefined;
  #giver: Channel | undefined;
  /** What tells the predecessor of what changes here. */
  #mirror: Giving | undefined;
  #earlier: EarlierGenerations | undefined;
  #offers: Pick<Offers, 'door' | 'earlier'> = {};
  #isReady = false;
  #isCommitted = false;
  /** Whether the predecessor has said that there is no way back. */
  #isConfirmed = false;
  #isGivingUp = false;
  #isHandingBack = false;

  constructor(context: GenerationContext, events: SuccessorEvents) {
    this.#context = context;
    this.#events = events;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get isCommitted(): boolean {
    return this.#isCommitted;
  }

  /** Whether there is no way back to the predecessor. */
  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  /** Whether connections, or changes of state, may still come. */
  get isBeingFed(): boolean {
    return this.#feeds.size > 0 || this.#earlier?.areTelling === true;
  }

  /** Where those let in whoever takes over from this generation that tell it, or may have to, what changes there. */
  get earlierDoors(): string[] {
    const predecessor = this.#giver?.isClosed === false ? (this.#offers.door ?? []) : [];
    return [predecessor, this.#earlier?.doors ?? []].flat();
  }

  /** Whether the predecessor was asked to serve again, and has not said yet what comes of it. */
  get isGivingUp(): boolean {
    return this.#isGivingUp && this.#feeds.size > 0;
  }

  /** Lets whoever is at the other end give the commit: its overseer does, where there is no predecessor. */
  heed(line: Line): void {
    this.#lines.add(line);
    line.on('commit', (commit) => this.#commit(line, commit));
    line.closed.then(() => this.#lines.delete(line));
  }

  /** Takes over from the predecessor at the other end of this channel. @param offers what can be asked for there. */
  inheritFrom(channel: Channel, { keeps, broadcasts, hearsMissing, ...offers }: Offers): void {
    this.heed(channel);
    if (!hearsMissing) this.#deaf = channel;
    this.#offers = offers;
    const hub = broadcastHub();
    if (broadcasts) hub.join(channel);
    else hub.whenUsed(() => warnOfOlder());
    if (keeps) {
      this.#giver = channel;
      const failed = (error: MoultError) => this.#stateFailed(error);
      const taking = new Taking(channel, this.#context, failed);
      this.#taking = taking;
      const gone = channel.closed.then(() => new Promise<void>((resolve) => taking.whenTaken(resolve)));
      this.#earlier = new EarlierGenerations(this.#context, gone, failed, () => this.#events.ended());
    }
    // Without its own work the process would end here: a gated listener does not keep it alive.
    channel.ref();
    channel.on('abort', ({ error }) => {
      if (!this.#isCommitted) this.#events.aborted(MoultError.from(error));
    });
    channel.on('late-listener', ({ listener, waits }, incoming) => {
      const [fd] = incoming.take();
      if (fd !== undefined) this.#events.lateListener(listener, fd, waits);
    });
    channel.on('confirm', ({ retire }) => {
      this.#proved();
      this.#isGivingUp = false;
      channel.unref();
      this.#forget(channel);
      this.#events.confirmed();
      if (retire) this.#events.retire();
    });
    channel.on('hand-back', (message) => {
      if (!this.#isCommitted) return;
      this.#isGivingUp = false;
      this.#isHandingBack = true;
      this.#feeds.delete(channel);
      const taking = this.#taking;
      taking?.stop();
      const whenTaken = (then: () => void) => (taking === undefined ? then() : taking.whenTaken(then));
      const callOff = (epoch: number) => {
        this.#isHandingBack = false;
        this.#proved();
        taking?.resumeTasks(epoch);
      };
      const takenBack = () => this.#earlier?.leave();
      const returning = { giving: this.#mirror, whenTaken, callOff, takenBack };
      this.#events.handBack(channel, flows, message, returning);
    });
    channel.closed.then(() => this.#forget(channel));
    this.#feeds.add(channel);
    const flows = this.#context.flows.join(channel);
    const { connections, listeners } = this.#context;
    const inflow = new Inflow(channel, connections, (name) => listeners.serverOf(name));
    inflow.over.then(() => {
      this.#feeds.delete(channel);
      // Whoever could have resumed is gone.
      if (this.#isCommitted && !this.#isHandingBack) this.#proved();
      this.#events.ended();
    });
  }

  #proved(): void {
    this.#isConfirmed = true;
    this.#context.listeners.proved();
  }

  /**
   * Takes the state that the predecessor has, and meets those that still tell it what changes there.
   * @returns when it is here; at once where there is none to be had.
   * @throws MOULT_STATE_FAILED
   */
  async takeState(): Promise<void> {
    await Promise.all([this.#taking?.wantState(), this.#earlier?.meet(this.#offers.earlier ?? [])]);
  }

  /**
   * Says that the service is ready.
   * @param said whether the service itself said so.
   * @param late the listeners that it lacks, and that are held for it.
   * @returns the names of those that it has, or that are held.
   */
  ready(said: boolean, late: readonly string[]): string[] {
    this.#isReady = true;
    const held = late.map((name) => ({ name, accepts: [], late: true }));
    const claims = [...movableClaims(this.#context), ...held];
    const tasks = this.#context.tasks.names();
    const threads = this.#context.doorsForThreads();
    const doors = threads.length === 0 ? {} : { threads };
    for (const line of this.#lines)
      line.send({ type: 'ready', claims, said, tasks, ...doors, taskParts: true });
    return claims.map(({ name }) => name);
  }

  /** Where nothing was inherited there is nothing to wait for: the service has served since it listened. */
  serveAtOnce(): void {
    if (this.#isCommitted) return;
    this.#isCommitted = true;
    this.#context.tasks.begin(this.#context.epoch);
    this.#events.committed();
  }

  /** Says that this generation has proved itself, where its predecessor still waits for that. */
  confirm(): void {
    for (const channel of this.#feeds) channel.send({ type: 'confirm' });
  }

  /** Calls the handover to this generation off, where it has not taken over yet. */
  refuse(error: MoultError): void {
    if (!this.#isCommitted) this.giveUp(error);
  }

  /** Asks the predecessor to serve again, where it still waits for that. */
  giveUp(error: MoultError): void {
    this.#isGivingUp = this.#isCommitted && !this.#isConfirmed;
    for (const channel of this.#feeds) channel.send({ type: 'abort', error: error.report() });
  }

  /** Says that this process is not the service, and ends: another one comes. */
  passBy(): void {
    for (const line of this.#lines)
      if (line !== this.#deaf) line.send({ type: 'missing', names: [], opened: [], passesBy: true });
  }

  /** Keeps the process until it is told to commit, or to end. */
  ref(): void {
    for (const line of this.#lines) line.ref();
  }

  /** Lets the process end although the predecessor still feeds it. */
  unref(): void {
    for (const line of this.#lines) line.unref();
    this.#earlier?.unref();
  }

  // What it sent of its state before belongs to it.
  #commit(line: Line, message: Message<'commit'>): void {
    if (this.#taking === undefined || line !== this.#giver) this.#takeOver(line, message);
    else {
      this.#taking.whenTaken(() => {
        if (this.#taking?.failure === undefined) this.#takeOver(line, message);
      });
    }
  }

  #takeOver(line: Line, { epoch, tasks, mirrors }: Message<'commit'>): void {
    if (this.#isCommitted) {
      this.#context.epoch = Math.max(this.#context.epoch, epoch);
      line.send({ type: 'committed' });
      return;
    }
    this.#isCommitted = true;
    this.#context.epoch = epoch;
    const isGiven = line === this.#giver;
    if (isGiven && this.#giver !== undefined) this.#note(this.#giver, mirrors);
    if (this.#feeds.size > 0) this.#context.listeners.onProbation();
    this.#context.listeners.openGates();
    this.#context.threads.open(epoch);
    line.send({ type: 'committed' });
    if (this.#taking === undefined) this.#context.tasks.begin(epoch);
    // Where the predecessor is gone, what it has said until then is heard first: a timer that it ran is not run again.
    else this.#taking.beginTasks(epoch, isGiven ? (tasks ?? []) : this.#context.tasks.names());
    this.#events.committed();
  }

  // From the moment in which it has all, so that nothing is missing when it has to give it back.
  #note(giver: Channel, mirrors: Message<'commit'>['mirrors']): void {
    this.#context.state.note(giver);
    if (mirrors === undefined) return;
    this.#mirror = new Giving(giver, this.#context);
    this.#mirror.mirror(mirrors);
  }

  #forget(channel: Channel): void {
    // One that hands back gives on by it, and keeps what the predecessor did not read.
    if (this.#isHandingBack) return;
    this.#mirror?.stop();
    this.#context.state.forget(channel);
  }

  #stateFailed(error: MoultError): void {
    if (!this.#isCommitted) this.refuse(error);
    else
      process.emitWarning(
        `${error.message}: it changed after the handover, and the change is lost`,
        'MoultWarning',
      );
  }
}
