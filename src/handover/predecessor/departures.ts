import type { DrainTimes } from '../../connections/drain.js';
import type { DrainReport, GenerationState } from '../../protocol/messages.js';
import type { FlowPeer } from '../flow-peer.js';
import type { GenerationContext } from '../generation-context.js';
import type { Giving } from '../giving.js';
import { meetPeerSlots, type Taker, takesAny } from '../peer-slots.js';
import { Departure, type DepartureTerms, type Work } from './departure.js';

/** The other side, to which connections go. */
export interface OtherSide {
  /** Undefined where nobody takes them. */
  readonly taker: Taker | undefined;
  /** Where its worker threads take connections. */
  readonly doors: readonly string[];
  readonly times: DrainTimes;
  readonly flows: FlowPeer;
  readonly giving: Giving;
  /** Asked when its threads have been met: whether connections are to go there, still. */
  isStill(): boolean;
}

/** What leaves this generation, to a successor, its predecessor or other slots: at most one {@link Departure} at a time. */
export class Departures {
  readonly #context: GenerationContext;
  readonly #isForGood: () => boolean;
  readonly #over: (report: DrainReport) => void;
  #leave: Departure | undefined;

  /** @param isForGood whether there is no way back. @param over told once, when nothing is left here. */
  constructor(context: GenerationContext, isForGood: () => boolean, over: (report: DrainReport) => void) {
    this.#context = context;
    this.#isForGood = isForGood;
    this.#over = over;
  }

  /** What has work here now, and would have when this generation accepts no more. */
  work(): Work {
    const { listeners } = this.#context;
    return { servers: listeners.streams().map(({ server }) => server), datagrams: listeners.datagrams() };
  }

  /** Begins. @returns it, under way. */
  begin(work: Work, terms: Omit<DepartureTerms, 'isForGood' | 'over'>): Departure {
    this.#leave = new Departure(this.#context, work, {
      ...terms,
      isForGood: this.#isForGood,
      over: this.#over,
    });
    return this.#leave;
  }

  /**
   * Begins, to the other side of a handover. What only threads there serve goes to them: until they have been met all
   * is served here.
   * @param generation the number by which this side introduces itself to the threads.
   * @param then called once it is under way: at once, where no threads have to be met.
   */
  beginTo(
    { taker, doors, times, flows, giving, isStill }: OtherSide,
    work: Work,
    generation: number,
    then: (leave: Departure) => void = () => {},
  ): void {
    const begin = (takers: readonly Taker[], heirs: readonly Taker[]) =>
      then(this.begin(work, { takers, heirs, times, flows, giving }));
    if (taker === undefined || !this.#needsThreads(taker, doors)) {
      begin(taker === undefined ? [] : [taker], []);
      return;
    }
    meetPeerSlots(doors, generation).then((heirs) => {
      if (isStill()) begin([taker, ...heirs], heirs);
      else for (const { channel } of heirs) channel.close();
    });
  }

  /** What still leaves; undefined while nothing does. @param named whether the first of the connections are told. */
  draining(named: boolean): GenerationState['draining'] {
    return this.#leave?.draining(named);
  }

  /** Looks whether it is over; called when something ended elsewhere. */
  check(): void {
    this.#leave?.check();
  }

  /** Nobody takes anything any more. */
  stopMoving(): void {
    this.#leave?.stopMoving();
  }

  /** What is here stays. */
  stop(): void {
    this.#leave?.stop();
    this.#leave = undefined;
  }

  /** It is over, and has been told of. */
  closeHeirs(): void {
    this.#leave?.closeHeirs();
  }

  // Only they serve some listener.
  #needsThreads({ claims }: Taker, doors: readonly string[]): boolean {
    const taken = new Set(claims.filter(takesAny).map(({ name }) => name));
    const isAllTaken = this.#context.listeners.streams().every(({ identity }) => taken.has(identity.name));
    return doors.length > 0 && !isAllTaken;
  }
}
