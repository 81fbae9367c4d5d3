import { broadcastHub } from '../../broadcast/shared.js';
import type { Channel } from '../../channel/channel.js';
import { MoultError } from '../../errors.js';
import type { HandoverState } from '../../lifecycle/handover-states.js';
import type { Lack } from '../../lifecycle/listener-names.js';
import type { Listener } from '../../listeners/listener.js';
import { ProcessHandle } from '../../os/unix-sockets/peer.js';
import type { Message, Settings } from '../../protocol/messages.js';
import type { FlowPeer } from '../flow-peer.js';
import type { GenerationContext } from '../generation-context.js';
import { Giving } from '../giving.js';
import { Taking } from '../taking.js';
import { LateOpenings } from './late-openings.js';
import type { StageLimit } from './stage-timer.js';

/** So many generations still finish requests at most. */
const MAX_EARLIER = 64;

/** A successor that the supervisor has announced. */
export interface AnnouncedSuccessor {
  readonly generation: number;
  readonly settings: Settings;
  /** Runs from the announcement: for all stages of the handover. */
  readonly limit: StageLimit;
}

/** What an attempt needs of the generation that hands over. Nothing is told of an attempt that is over. */
export interface HandoverAttemptEvents {
  /** The state of the handover now. */
  state(): HandoverState;
  /** The successor is to have this one, and the supervisor a copy. */
  given(listener: Listener): void;
  /** The process was not the successor: that comes after it. */
  passedBy(): void;
  /** The successor says that it is ready. */
  ready(message: Message<'ready'>): void;
  /** The successor has given up, or can never have what it asks for. */
  failed(error: MoultError): void;
  /** The successor wants no probation. */
  confirmed(): void;
  /** The channel has closed. @param reason of an end that was not asked for. */
  lost(reason: MoultError | undefined): void;
}

/**
 * One handover to one successor, from its hello until it has failed, or this generation has ended: what the successor
 * has said, what goes to it, and what comes from it.
 */
export class HandoverAttempt {
  readonly generation: number;
  readonly settings: Settings;
  readonly limit: StageLimit;
  readonly channel: Channel;
  /** State and tasks that go to the successor. */
  readonly giving: Giving;
  /** Listeners that the service opens meanwhile. */
  readonly late: LateOpenings;
  /** Flows of datagrams. */
  readonly flows: FlowPeer;
  /** When this side stopped accepting for it, by the monotonic clock. */
  pausedAtMs = 0;
  /** Called for each part of state that comes from the successor. */
  whenPartComes: () => void = () => {};
  readonly #context: GenerationContext;
  readonly #process: ProcessHandle;
  readonly #stateNow: () => HandoverState;
  #taking: Taking | undefined;
  #missing: Lack | undefined;
  #said: Pick<Message<'ready'>, 'claims' | 'tasks' | 'threads'> = { claims: [] };
  #isOver = false;

  /** The successor has said hello, and has been told of the listeners. @param offered the names of these. */
  constructor(
    { generation, settings, limit }: AnnouncedSuccessor,
    channel: Channel,
    context: GenerationContext,
    { offered, takesLate }: { readonly offered: readonly string[]; readonly takesLate: boolean },
    events: HandoverAttemptEvents,
  ) {
    this.generation = generation;
    this.settings = settings;
    this.limit = limit;
    this.channel = channel;
    this.#context = context;
    this.#stateNow = events.state;
    this.giving = new Giving(channel, context, (error) => {
      if (!this.#isOver) events.failed(error);
    });
    this.late = new LateOpenings({
      listeners: context.listeners,
      channel,
      takes: takesLate,
      offered,
      given: events.given,
    });
    this.flows = context.flows.join(channel);
    this.#process = new ProcessHandle(channel.peer.pid);
    channel.ref();
    const unlessOver =
      <T>(tell: (what: T) => void) =>
      (what: T) => {
        if (!this.#isOver) tell(what);
      };
    channel.on(
      'missing',
      unlessOver((missing) => {
        this.#missing = missing;
        if (missing.passesBy === true) events.passedBy();
      }),
    );
    channel.on('ready', unlessOver(events.ready));
    channel.on(
      'abort',
      unlessOver(({ error }) => events.failed(MoultError.from(error))),
    );
    channel.on('confirm', unlessOver(events.confirmed));
    channel.closed.then(unlessOver(events.lost));
  }

  /**
   * Whether this attempt still goes on, in one of these states. Every answer that may come late asks this first: by
   * then the attempt may have been undone, and another one be in the same state.
   */
  isStill(...states: readonly HandoverState[]): boolean {
    return !this.#isOver && states.includes(this.#stateNow());
  }

  /** What the successor said last that it is not ready for want of. */
  get missing(): Lack | undefined {
    return this.#missing;
  }

  /** The successor has said that it is ready. */
  learn(ready: Message<'ready'>): void {
    this.giving.takesParts = ready.taskParts === true;
    this.#said = ready;
  }

  /** What the successor takes; nothing before it is ready. */
  get claims(): Message<'ready'>['claims'] {
    return this.#said.claims;
  }

  /** The names of its tasks; none before it is ready. */
  get tasks(): readonly string[] {
    return this.#said.tasks ?? [];
  }

  /** Where its worker threads take connections; nowhere before it is ready. */
  get threads(): readonly string[] {
    return this.#said.threads ?? [];
  }

  /** Whether the channel is open: the successor may answer. */
  get isConnected(): boolean {
    return !this.#isOver && !this.channel.isClosed;
  }

  /** What comes from the successor: of tasks while it serves, all when it hands back. Undefined before the commit. */
  get taking(): Taking | undefined {
    return this.#taking;
  }

  /** Takes what the successor will have to tell once it serves. */
  take(): void {
    this.#taking = new Taking(this.channel, this.#context, warnOfLoss, () =>
      this.whenPartComes(),
    ).takeAnySize();
  }

  /** Ends the successor's process at once. */
  kill(): void {
    this.#process.kill();
  }

  /** The attempt is over before the commit: its process is not the one, and another may come within the limit; or it has failed. */
  callOff(): void {
    this.giving.stop();
    this.giving.forget();
    this.#end();
    this.channel.close();
  }

  /** The attempt is over: what still comes of it changes nothing here. The channel is the caller's to close. */
  end(): void {
    if (!this.#isOver) this.limit.clear();
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#process.close();
    this.late.stop();
  }
}

/**
 * Tells the successor of the listeners, with a descriptor of each, and of what else there is for it.
 * @param number the generation that it is, where it does not know.
 * @returns the names of the listeners.
 */
export function offerListeners(context: GenerationContext, channel: Channel, number?: number): string[] {
  const { items, descriptors } = context.listeners.describe();
  const counted = context.threads.counted(items);
  const told = number === undefined ? {} : { generation: number };
  const earlier = context.fallbacks.earlier().slice(0, MAX_EARLIER);
  const fallbacks = { door: context.fallbacks.own, ...(earlier.length === 0 ? {} : { earlier }) };
  const offers = { keeps: true, broadcasts: true, hearsMissing: true, ...fallbacks };
  channel.send(
    { type: 'inherit', epoch: context.epoch, listeners: counted, ...offers, ...told },
    descriptors,
  );
  broadcastHub().accept(channel);
  return items.map(({ name }) => name);
}

/** Warns that state which the successor has handed back could not be restored. */
export function warnOfLoss({ message }: MoultError): void {
  process.emitWarning(`handed back: ${message}; this generation keeps its own state`, 'MoultWarning');
}
