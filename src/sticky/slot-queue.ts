import { type Fresh, FreshOutflow } from '../connections/moving/fresh-outflow.js';
import { meetPeerSlots, type Taker } from '../handover/peer-slots.js';
import { monotonicMs } from '../os/clock.js';

/** How long a connection waits for its slot at most; and where the slot was lost longer ago, not at all. */
const WAIT_MS = 2000;
/** How often those that wait are looked at. */
const LOOK_MS = 50;
/** How many may wait for one slot; more are served where they are. */
const MAX_WAITING = 4096;
/** How long a channel on which nobody answers is kept: what was sent there last may still be read. */
const FORSAKEN_MS = 10_000;

/** One that was accepted here and belongs to another slot. */
export interface MisplacedConnection {
  readonly fresh: Fresh;
  /** By what its slot is found. */
  readonly key: string;
  /** Has it served here. */
  readonly serve: () => void;
}

/** What is told of connections that belong to another slot. */
export interface SlotQueueEvents {
  /** This is no slot any more: where it belongs is to be decided anew. */
  orphaned(arrival: MisplacedConnection): void;
  /** It has not been reached for so long: others serve its clients until it is. Told once each time. */
  away(ms: number): void;
  /** It is reached again: what was served here meanwhile may go there. */
  found(): void;
  /** None waits or is on its way. */
  idle(): void;
}

/** A channel to one generation of another slot. */
interface SlotLink {
  readonly taker: Taker;
  readonly outflow: FreshOutflow;
  /** Nothing goes by it any more: it closes when what is on its way has arrived. */
  isEnding: boolean;
}

/** Another slot, and the connections that were accepted here, belong to it, and have not arrived there yet. */
export class SlotQueue {
  readonly #generation: number;
  readonly #events: SlotQueueEvents;
  readonly #links = new Set<SlotLink>();
  readonly #waiting = new Map<Fresh, MisplacedConnection>();
  readonly #leaving = new Map<Fresh, MisplacedConnection>();
  #door: string | null = null;
  #link: SlotLink | undefined;
  #isOpening = false;
  /** Since when it cannot be reached. */
  #lostAtMs: number | undefined;
  #isToldAway = false;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param generation the number of the one that gives. */
  constructor(generation: number, events: SlotQueueEvents) {
    this.#generation = generation;
    this.#events = events;
  }

  /** Whether none waits or is on its way. */
  get isIdle(): boolean {
    const isBusy = [...this.#links].some(({ outflow }) => !outflow.isStopped && !outflow.isIdle);
    return !isBusy && this.#waiting.size + this.#leaving.size === 0;
  }

  /** Its generation that serves is found there from now on; null while none does. */
  moveTo(door: string | null): void {
    if (door === this.#door) return;
    this.#door = door;
    const wasUsed = this.#link !== undefined;
    this.#leaveRoad();
    if (door === null) this.#lostAtMs ??= monotonicMs();
    // It may have been away for long; who comes next does not belong here any more.
    else if (wasUsed || this.#waiting.size > 0 || this.#lostAtMs !== undefined) this.#open();
  }

  /** @returns false where it is to be served here. */
  take(arrival: MisplacedConnection): boolean {
    if (this.#isOver || this.#waiting.size >= MAX_WAITING) return false;
    const isLost = this.#lostAtMs !== undefined && monotonicMs() - this.#lostAtMs > WAIT_MS;
    if (isLost) {
      this.#tellAway(this.#lostAtMs);
      this.#open();
      return false;
    }
    this.#waiting.set(arrival.fresh, arrival);
    if (this.#link === undefined) this.#open();
    else this.#depart(arrival, this.#link);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
    return true;
  }

  /** It is no slot any more: what waits is orphaned, and what is on its way arrives or is. */
  end(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#leaveRoad();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const arrival of waiting) this.#events.orphaned(arrival);
    this.#checkIdle();
  }

  #depart(arrival: MisplacedConnection, { taker, outflow }: SlotLink): void {
    const { fresh } = arrival;
    // A port that only this slot has.
    if (!taker.claims.some(({ name }) => name === fresh.listener)) {
      this.#serve(arrival);
      return;
    }
    this.#waiting.delete(fresh);
    this.#leaving.set(fresh, arrival);
    outflow.give(fresh);
  }

  #departAll(): void {
    const link = this.#link;
    if (link !== undefined) for (const arrival of [...this.#waiting.values()]) this.#depart(arrival, link);
  }

  // Also where there is a channel: its generation may have refused while it was being replaced, and serve again.
  #look(): void {
    const beforeMs = monotonicMs() - WAIT_MS;
    const late = [...this.#waiting.values()].filter(({ fresh }) => fresh.acceptedAtMs < beforeMs);
    for (const arrival of late) {
      this.#tellAway(this.#lostAtMs ?? arrival.fresh.acceptedAtMs);
      this.#serve(arrival);
    }
    if (this.#link === undefined && this.#waiting.size > 0) this.#open();
    else this.#departAll();
    if (this.#waiting.size + this.#leaving.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#checkIdle();
  }

  #tellAway(sinceMs = monotonicMs()): void {
    if (this.#isToldAway) return;
    this.#isToldAway = true;
    this.#events.away(monotonicMs() - sinceMs);
  }

  #isFound(): void {
    this.#lostAtMs = undefined;
    this.#isToldAway = false;
    this.#events.found();
  }

  #serve(arrival: MisplacedConnection): void {
    this.#waiting.delete(arrival.fresh);
    arrival.serve();
  }

  async #open(): Promise<void> {
    const door = this.#door;
    if (door === null || this.#isOpening || this.#isOver) return;
    this.#isOpening = true;
    const beganMs = monotonicMs();
    const [taker] = await meetPeerSlots([door], this.#generation);
    this.#isOpening = false;
    const isWanted = !this.#isOver && door === this.#door;
    if (taker?.takesFresh === true && isWanted) this.#useRoad(taker);
    else {
      taker?.channel.close();
      if (isWanted) this.#lostAtMs ??= beganMs;
      else if (this.#waiting.size > 0) this.#open();
    }
  }

  #useRoad(taker: Taker): void {
    const outflow = new FreshOutflow(taker.channel, {
      left: (fresh) => {
        this.#leaving.delete(fresh);
        if (this.#lostAtMs !== undefined) this.#isFound();
      },
      returned: (all) => this.#returned(all),
      idle: () => this.#idle(link),
    });
    const link: SlotLink = { taker, outflow, isEnding: false };
    taker.channel.unref();
    // The one before may be there still, refused by a generation that serves again.
    this.#leaveRoad();
    this.#links.add(link);
    this.#link = link;
    this.#departAll();
    if (this.#lostAtMs !== undefined || this.#isToldAway) this.#isFound();
  }

  #leaveRoad(): void {
    const link = this.#link;
    this.#link = undefined;
    if (link === undefined) return;
    link.isEnding = true;
    this.#idle(link);
  }

  #returned(all: readonly Fresh[]): void {
    for (const fresh of all) {
      const arrival = this.#leaving.get(fresh);
      this.#leaving.delete(fresh);
      if (arrival === undefined) continue;
      if (this.#isOver) this.#events.orphaned(arrival);
      else this.#waiting.set(fresh, arrival);
    }
    if (all.length > 0) this.#lostAtMs ??= monotonicMs();
  }

  #idle(link: SlotLink): void {
    if (link.outflow.isStopped) {
      this.#links.delete(link);
      setTimeout(() => link.taker.channel.close(), FORSAKEN_MS).unref();
      if (this.#link === link) {
        this.#link = undefined;
        this.#lostAtMs ??= monotonicMs();
      }
    } else if (link.isEnding && link.outflow.isIdle) {
      this.#links.delete(link);
      link.taker.channel.close();
    }
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.isIdle) this.#events.idle();
  }
}
