import type { Channel } from '../channel/channel.js';
import type { DrainTimes } from '../connections/drain.js';
import type { HandoverState } from '../lifecycle/handover-states.js';
import { Deadline } from '../os/deadline.js';
import { ProcessHandle } from '../os/unix-sockets/peer.js';
import type { Message } from '../protocol/messages.js';
import { type FlowPeer, listenersWithFlows } from './flow-peer.js';
import type { GenerationContext } from './generation-context.js';
import { Giving } from './giving.js';
import type { Taker } from './peer-slots.js';
import { drainTimesOf } from './predecessor/departure.js';
import type { OtherSide } from './predecessor/departures.js';
import type { Returning } from './successor.js';

/** How long the process of a predecessor may take to end after its channel has closed. */
const END_TIMEOUT_MS = 2000;
const LOOK_MS = 10;
/** How long datagrams that are on their way to the predecessor may take: it waits for 2 s. */
const DATAGRAMS_TIMEOUT_MS = 500;

/** What a hand-back needs of the generation that hands back. Nothing is told of one that is over. */
export interface HandBackEvents {
  /** The state of this generation now. */
  state(): HandoverState;
  /** The predecessor serves. */
  takenBack(): void;
  /** The predecessor has ended before it served: nobody else has what is here. */
  servesOn(): void;
  /** Connections leave now. */
  leave(to: OtherSide): void;
  /** Nobody takes connections any more. */
  stopMoving(): void;
}

/**
 * The successor's side of an undo: its predecessor serves again, and what is here goes back to it. The predecessor's side
 * is predecessor/undo.ts.
 */
export class HandBack {
  readonly channel: Channel;
  readonly flows: FlowPeer;
  readonly giving: Giving;
  readonly #context: GenerationContext;
  readonly #message: Message<'hand-back'>;
  readonly #returning: Returning;
  readonly #events: HandBackEvents;
  /** An older predecessor does not say that it serves. */
  readonly #saysResumed: boolean;
  #hasBegun = false;
  #isOver = false;

  constructor(
    { channel, flows }: { readonly channel: Channel; readonly flows: FlowPeer },
    message: Message<'hand-back'>,
    returning: Returning,
    context: GenerationContext,
    events: HandBackEvents,
  ) {
    this.channel = channel;
    this.flows = flows;
    this.giving = returning.giving ?? new Giving(channel, context);
    this.#context = context;
    this.#message = message;
    this.#returning = returning;
    this.#events = events;
    this.#saysResumed = message.saysResumed === true;
    this.giving.mayServeOn = () => this.#isWaiting;
  }

  /** The listeners have been paused: gives back, once threads have, too. */
  begin(): void {
    const { channel } = this;
    channel.ref();
    channel.on('resumed', () => this.#takenBack());
    const predecessor = new ProcessHandle(channel.peer.pid);
    channel.closed.then(() => this.#lost(predecessor));
    this.#context.threads.pause(() =>
      this.#returning.whenTaken(() =>
        this.#whenAcknowledged(() => this.giving.giveBack(this.#message, () => this.#giveBack())),
      ),
    );
  }

  /** Goes on here with what the predecessor had given, and would have had again. */
  callOff(epoch: number): void {
    // A predecessor says that it serves before it begins anything, and this one has not heard so.
    this.giving.resumeTasks(epoch, [], false);
    this.#returning.callOff(epoch);
  }

  /** It is over: what still comes of it changes nothing here. The channel is the caller's to close. */
  end(): void {
    this.#isOver = true;
  }

  #isStill(...states: readonly HandoverState[]): boolean {
    return !this.#isOver && states.includes(this.#events.state());
  }

  get #isWaiting(): boolean {
    return this.#isStill('returning');
  }

  // A datagram that came back later would come after others of its flow, which the predecessor has received.
  #whenAcknowledged(then: () => void): void {
    this.flows.acknowledged(DATAGRAMS_TIMEOUT_MS).then(then);
  }

  #takenBack(): void {
    if (!this.#isWaiting) return;
    this.#returning.takenBack();
    this.#events.takenBack();
  }

  #giveBack(): void {
    const { channel, flows, giving } = this;
    if (!this.#isWaiting || channel.isClosed) return;
    this.#hasBegun = true;
    const { claims, threads = [], tasks = [], drainTimeoutMs } = this.#message;
    const times = drainTimesOf(this.#message);
    flows.tell(listenersWithFlows(claims));
    const hears = this.#saysResumed ? { hearsResumed: true } : {};
    channel.send({ type: 'handed-back', door: this.#context.fallbacks.own, ...hears });
    if (!this.#saysResumed) this.#takenBack();
    giving.begin(tasks, drainTimeoutMs);
    this.#context.threads.leave(threads, times);
    this.#leave({ channel, claims }, threads, times);
  }

  #leave(taker: Taker | undefined, doors: readonly string[], times: DrainTimes): void {
    const isStill = () => this.#isStill('returning', 'draining');
    this.#events.leave({ taker, doors, times, flows: this.flows, giving: this.giving, isStill });
  }

  #lost(predecessor: ProcessHandle): void {
    if (!this.#isOver) this.#events.stopMoving();
    if (!this.#isWaiting) {
      predecessor.close();
      return;
    }
    whenKnown(predecessor, (hasEnded) => {
      predecessor.close();
      if (!this.#isWaiting) return;
      if (hasEnded) this.#events.servesOn();
      else this.#leaveAlone();
    });
  }

  // It serves, or will: who cannot be told of anything any more must not serve beside it.
  #leaveAlone(): void {
    const { drainTimeoutMs: timeoutMs } = this.#message;
    this.#takenBack();
    this.giving.stop();
    this.#context.tasks.end(timeoutMs);
    if (this.#hasBegun) return;
    this.#context.threads.retire(timeoutMs, true, []);
    this.#leave(undefined, [], { timeoutMs, spreadMs: 0 });
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
