/*
 * Just over 300 lines: the states of one connection that is about to leave share its fields.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { asMoultError, MoultError } from '../../errors.js';
import { descriptorOf } from '../../node/handle.js';
import {
  isEnding,
  readAgain,
  stopReading,
  takeUnread,
  type Unread,
  WriteHold,
} from '../../node/http/standstill.js';
import { socketAbove } from '../../node/tls-sockets.js';
import { monotonicMs } from '../../os/clock.js';
import { giveTo } from '../../os/sockets/connection-owner.js';
import type { ConnectionItem } from '../../protocol/messages.js';
import type { ConnectionTracker, Tracked } from '../tracker.js';
import { encodeCarried } from './carried.js';
import type { Departing } from './connection-batches.js';
import type { Mover, MoverPhase } from './movers.js';
import { type HeldTls, holdTls, securedSocket, whyTlsIsBusy } from './tls-hold.js';

/** How long reads are held back for something that is pending; then the service reads again, for longer each time. */
const PATIENCE_MS = 1000;
const LONGEST_REST_MS = 30_000;
/** How long a `save` that returns a promise may take. */
const SAVE_TIMEOUT_MS = 5000;
/** How often one that waits for more than an event tells is looked at again: first, and at the longest. */
const FIRST_LOOK_MS = 10;
const LONGEST_LOOK_MS = 160;

/**
 * - `ready`: it can be sent in this turn
 * - `later`: look again after {@link CarriedDeparture.nextLookMs}, or when somebody tells
 * - `gone`: it ends, or cannot move
 */
export type CarriedDepartureStep = 'ready' | 'later' | 'gone';

/** What a service has written and the kernel has not taken may go along up to here; of more it waits for the client. */
const MAX_HELD_BYTES = 256 * 1024;
/** How much goes along with a connection of a mover, on the average of the last ones. */
const usualBytes = new WeakMap<Mover, number>();
/** Movers whose `save` has returned a promise: it is asked before a connection is sent, not when it leaves. */
const savesAhead = new WeakSet<Mover>();

/**
 * A connection with a mover on its way out. It stands still in both directions until the other side has a copy, and
 * it is saved in the same turn in which ours goes: what is saved is all there is, and nothing is read or sent twice.
 * The state of its TLS is read in that turn, too: from then on nothing can be written on it here.
 */
export class CarriedDeparture implements Departing {
  readonly tracked: Tracked;
  readonly mover: Mover;
  /** The socket with which its service works. */
  readonly socket: Socket;
  nextLookMs = FIRST_LOOK_MS;
  /** Why it cannot move. */
  error: MoultError | undefined;
  /** Why its TLS was not at rest when it was last looked at. */
  whyBusy: string | undefined;
  /** Whether it stayed for a reason that is over: its batch had no room, or it must be saved ahead. */
  isToGoAtOnce = false;
  readonly #listener: string;
  readonly #taker: number;
  readonly #tracker: ConnectionTracker;
  readonly #again: (departure: CarriedDeparture) => void;
  #hold: WriteHold | undefined;
  #ahead: 'no' | 'pending' | { readonly saved: unknown } = 'no';
  #saves = 0;
  #stoppedAtMs: number | undefined;
  /** Since when patience is counted: not while the mover works. */
  #patientSinceMs = 0;
  #restMs = PATIENCE_MS;
  #notBeforeMs = 0;

  /**
   * @param taker the process to which it goes.
   * @param again is told when a save ahead has settled.
   */
  constructor(
    tracked: Tracked,
    mover: Mover,
    listener: string,
    taker: number,
    tracker: ConnectionTracker,
    again: (departure: CarriedDeparture) => void,
  ) {
    this.tracked = tracked;
    this.mover = mover;
    this.socket = socketAbove(tracked.socket);
    this.#listener = listener;
    this.#taker = taker;
    this.#tracker = tracker;
    this.#again = again;
  }

  get descriptors(): number[] {
    return this.#sockets().map(descriptorOf);
  }

  /** How much will probably go along with it. */
  get usualBytes(): number {
    return usualBytes.get(this.mover) ?? 0;
  }

  /** Whether it stands still. */
  get isStopped(): boolean {
    return this.#stoppedAtMs !== undefined;
  }

  get isSaving(): boolean {
    return this.#ahead === 'pending';
  }

  /** What was saved ahead may not be true in a later turn: it is saved anew. */
  outdate(): void {
    if (this.#ahead !== 'pending') this.#forgetSaved();
  }

  /** It stays, for this reason. */
  refuse(error: MoultError): void {
    this.#fail(error);
  }

  /** Goes as far as it can in this turn. */
  step(): CarriedDepartureStep {
    if (isEnding(this.socket)) return this.#leaveIt('gone');
    switch (this.#phase()) {
      case undefined:
        return 'gone';
      case 'receiving':
        return this.#leaveIt('later');
      case 'busy':
        // What it does now changes what was saved.
        this.#forgetSaved();
        this.#release();
        // Those that waited in vain are given time to read before reads are held back again.
        if (monotonicMs() >= this.#notBeforeMs) this.#stopReading();
        return this.#later();
      case 'ready':
        return this.#prepare();
    }
  }

  /** Stops waiting with reads held back, when it has waited for long. */
  rest(): void {
    if (this.#stoppedAtMs === undefined) return;
    const nowMs = monotonicMs();
    if (this.mover.isWorking?.(this.socket) === true) this.#patientSinceMs = nowMs;
    const waitedMs = nowMs - Math.max(this.#stoppedAtMs, this.#patientSinceMs);
    if (this.isSaving && waitedMs > SAVE_TIMEOUT_MS) {
      this.#fail(
        new MoultError('MOULT_SAVE_FAILED', `expected save() to settle within ${SAVE_TIMEOUT_MS} ms`),
      );
    } else if (!this.isSaving && waitedMs > PATIENCE_MS) {
      this.stay();
      this.#notBeforeMs = nowMs + this.#restMs;
      this.#restMs = Math.min(LONGEST_REST_MS, this.#restMs * 2);
    }
  }

  item(): ConnectionItem {
    return {
      listener: this.#listener,
      kind: 'carried',
      mover: this.mover.name,
      version: this.mover.version,
      ...(this.#sockets().length === 1 ? {} : { descriptors: 2 }),
      idleLeftMs: null,
      headLeftMs: null,
      requests: 0,
      frozenAtMs: this.#stoppedAtMs ?? monotonicMs(),
    };
  }

  /** Everything is as it was, and what was held goes out here. */
  stay(): void {
    this.#forgetSaved();
    this.#release();
    if (this.#stoppedAtMs === undefined) return;
    this.#stoppedAtMs = undefined;
    readAgain(this.socket);
  }

  leave(roomBytes: number): { data: Buffer; isSecret: boolean } | 'stays' {
    const { socket } = this;
    const hold = this.#hold;
    this.isToGoAtOnce = false;
    if (hold === undefined || isEnding(socket) || this.mover.stays(socket)) return 'stays';
    if (this.#phase() !== 'ready') return 'stays';
    const data = this.#pack(hold, roomBytes);
    if (data === undefined) return 'stays';
    // Should we die before the other side may begin, it goes on with the data, if that has reached it.
    const sockets = this.#sockets();
    for (const one of sockets) giveTo(descriptorOf(one), this.#taker);
    this.mover.left(socket);
    this.#tracker.remove(this.tracked);
    for (const one of sockets) one.destroy();
    return { data, isSecret: this.#secured !== undefined };
  }

  #sockets(): Socket[] {
    const { socket } = this;
    const partner = this.mover.partner?.(socket);
    return partner === undefined ? [socket] : [socket, partner];
  }

  #phase(): MoverPhase | undefined {
    try {
      return this.mover.phase(this.socket);
    } catch (cause) {
      this.#fail(asMoultError(cause, 'MOULT_SAVE_FAILED'));
      return undefined;
    }
  }

  #prepare(): CarriedDepartureStep {
    const { socket } = this;
    if (this.isSaving) return 'later';
    if (this.#hold === undefined && (this.#waitsForClient() || this.#isWithinRecord()))
      return this.#leaveIt('later');
    this.#stopReading();
    if (this.#hold === undefined) {
      this.mover.hold(socket);
      this.#hold = new WriteHold(socket);
    }
    if (!this.mover.isQuiet(socket) || !this.#hold.isQuiet || this.#isWithinRecord()) return this.#later();
    return savesAhead.has(this.mover) && this.#ahead === 'no' ? this.#saveAhead() : 'ready';
  }

  // A client that takes nothing may be waiting to be read itself, so it is read on.
  #waitsForClient(): boolean {
    const { writableLength } = this.socket;
    return writableLength > MAX_HELD_BYTES || (writableLength > 0 && monotonicMs() < this.#notBeforeMs);
  }

  // What has come of a record stays with it: it is read to its end here.
  #isWithinRecord(): boolean {
    this.whyBusy = this.#secured && whyTlsIsBusy(this.#secured);
    return this.whyBusy !== undefined;
  }

  get #secured(): TLSSocket | undefined {
    return securedSocket(this.tracked);
  }

  #saveAhead(): CarriedDepartureStep {
    const attempt = ++this.#saves;
    let saved: unknown;
    try {
      saved = this.mover.save(this.socket);
    } catch (cause) {
      this.#fail(asMoultError(cause, 'MOULT_SAVE_FAILED'));
      return 'gone';
    }
    this.#ahead = 'pending';
    const isCurrent = () => attempt === this.#saves && this.isSaving;
    Promise.resolve(saved).then(
      (value) => {
        if (!isCurrent()) return;
        this.#ahead = { saved: value };
        this.#again(this);
      },
      (cause) => {
        if (!isCurrent()) return;
        this.#fail(asMoultError(cause, 'MOULT_SAVE_FAILED'));
        this.#again(this);
      },
    );
    return 'later';
  }

  /** All that goes along, taken out of the socket; or undefined when it stays, and nothing is taken. */
  #pack(hold: WriteHold, roomBytes: number): Buffer | undefined {
    if (hold.bytes > MAX_HELD_BYTES) return undefined;
    const secured = this.#secured;
    if (secured === undefined) return this.#packWith(hold, roomBytes, undefined);
    const held = holdTls(secured);
    if ('why' in held) {
      this.whyBusy = held.why;
      if (held.isForGood) this.error = new MoultError('MOULT_SAVE_FAILED', held.why);
      return undefined;
    }
    const bytes = this.#packWith(hold, roomBytes, held);
    held.forget();
    if (bytes === undefined) held.release();
    return bytes;
  }

  #packWith(hold: WriteHold, roomBytes: number, tls: HeldTls | undefined): Buffer | undefined {
    const { socket } = this;
    const late = this.mover.late(socket);
    const hasSent = late !== undefined || hold.bytes > 0;
    let unread: Unread | undefined;
    try {
      const saved = this.#saved(hasSent);
      if (saved === undefined) return undefined;
      unread = takeUnread(socket);
      const carried = {
        saved: saved.value,
        unread: unread.bytes,
        written: hold.take(),
        late,
        tls: tls?.bytes,
      };
      const bytes = encodeCarried(carried, this.mover.maxBytes);
      usualBytes.set(this.mover, (3 * this.usualBytes + bytes.length) / 4);
      if (bytes.length <= roomBytes) return bytes;
      if (tls !== undefined) bytes.fill(0);
      this.isToGoAtOnce = true;
    } catch (cause) {
      const error = asMoultError(cause, 'MOULT_SAVE_FAILED');
      // What was sent is less when it has gone out here.
      if (error.code !== 'MOULT_DATA_TOO_LARGE' || !hasSent) this.error = error;
    }
    unread?.restore();
    return undefined;
  }

  /** What the service saved; undefined when that has to be done ahead, or anew. */
  #saved(hasSent: boolean): { value: unknown } | undefined {
    // What was sent since may have changed what was saved ahead.
    const ahead = this.#ahead;
    if (ahead === 'pending') return undefined;
    if (ahead !== 'no') return hasSent ? undefined : { value: ahead.saved };
    const value = this.mover.save(this.socket);
    if (!isPromise(value)) return { value };
    savesAhead.add(this.mover);
    this.isToGoAtOnce = true;
    value.then(undefined, () => {});
    return undefined;
  }

  #fail(error: MoultError): void {
    this.error = error;
    this.stay();
  }

  #leaveIt(step: 'later' | 'gone'): CarriedDepartureStep {
    this.stay();
    return step === 'later' ? this.#later() : step;
  }

  #later(): CarriedDepartureStep {
    this.nextLookMs = Math.min(LONGEST_LOOK_MS, this.nextLookMs * 2);
    return 'later';
  }

  #forgetSaved(): void {
    this.#ahead = 'no';
    this.#saves += 1;
  }

  #release(): void {
    if (this.#hold === undefined) return;
    const hold = this.#hold;
    this.#hold = undefined;
    hold.release();
    this.mover.release(this.socket);
  }

  #stopReading(): void {
    if (this.#stoppedAtMs !== undefined) return;
    stopReading(this.socket);
    this.#stoppedAtMs = monotonicMs();
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
