/*
 * Over 300 lines: the first copy, late changes and what was read of them are one account for each entry.
 */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Channel } from '../channel/channel.js';
import { asMoultError, MoultError } from '../errors.js';
import { encodePart, type Step, sendable, warn } from './parts.js';
import type { StateEntries } from './state-entries.js';
import { type EntryLink, type Parts, type StateEntry, versionFor, type Want } from './state-entry.js';
import { UnreadBytes } from './unread-bytes.js';

/** The most bytes of one part that a frame carries; a longer part goes in several. */
const FRAME_BYTES = 1024 * 1024;
/** So few changes may be left to the moment in which nobody serves. */
const FEW_CHANGES = 256;
/** How often to try to catch up with a service that changes faster than it can be copied. */
const MOST_ROUNDS = 8;

interface Given {
  readonly piece: StateEntry;
  readonly link: EntryLink;
  readonly version: number;
  readonly late: boolean;
  bytes: number;
  /** Of the last part, where that may come again. */
  digest?: string;
}

/**
 * Gives pieces of state to the other side of a channel: all of each while the service goes on, and from then on what
 * changes, as it changes; at the handover the rest.
 */
export class StateGiver {
  #channel: Channel;
  #pieces: StateEntries;
  #given: Given[] = [];
  readonly #unread = new UnreadBytes();
  #isStopped = false;
  /** Whether what changes is told as it changes. */
  #isFollowed = false;
  #isFollowing = false;
  /** Whether the other side has it all: what cannot be told from then on does not keep it from taking over. */
  #isOver = false;
  #failure: MoultError | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** How many wait in turn. */
  #inLine = 0;

  /** @param onRead told each time when the other side has read all that was sent. */
  constructor(channel: Channel, pieces: StateEntries, onRead: () => void = () => {}) {
    this.#channel = channel;
    this.#pieces = pieces;
    channel.on('state-read', ({ bytes }) => {
      const read = this.#unread.wasRead(bytes);
      for (const { link } of this.#given) link.read?.(read);
      if (this.isRead) onRead();
    });
    channel.closed.then(() => this.stop());
  }

  /** Whether the other side has asked for something that is here. */
  get hasPieces(): boolean {
    return this.#given.length > 0;
  }

  /** Whether the other side has read all that was sent. */
  get isRead(): boolean {
    return this.#unread.isRead;
  }

  /** Whether the other side is gone. */
  get isCutOff(): boolean {
    return this.#channel.isClosed;
  }

  /** Whether the other side has this piece from here. */
  gives(piece: StateEntry): boolean {
    return this.#given.some((given) => given.piece === piece);
  }

  /** The keys of this piece of which the other side has not said that it has read them. */
  unread(piece: StateEntry): ReadonlySet<unknown> {
    return this.#pieces.link(piece, this.#channel).unread ?? new Set();
  }

  /** The pieces that nobody has asked for. */
  get left(): string[] {
    return this.#pieces.all().flatMap((piece) => (piece.isOfTask || this.gives(piece) ? [] : piece.name));
  }

  /** The bytes of state that were given so far; undefined where there is none. */
  get bytes(): number | undefined {
    const given = this.#given.filter(({ piece }) => !piece.isOfTask);
    return given.length === 0 ? undefined : given.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Copies what the other side wants, while the service goes on.
   * @throws MOULT_STATE_FAILED, MOULT_STATE_TOO_LARGE, MOULT_STATE_VERSION
   */
  async copy(wants: readonly Want[]): Promise<void> {
    this.#given = this.#agree(wants);
    await this.#inTurn(async () => {
      for (const given of this.#given) {
        const { piece, link, version } = given;
        await this.#send(given, link.copy(version), true);
        if (!this.#isStopped)
          this.#channel.send({ type: 'state-part', name: piece.name, version, isWhole: true });
      }
    });
    await this.catchUp();
    // Whoever has to go on without this side lacks nothing that was done here.
    this.follow();
    await this.settled();
    if (!this.#isStopped) this.#channel.send({ type: 'state-copied' });
  }

  /** Gives what has changed since, in rounds, until little is left; the service goes on. */
  catchUp(): Promise<void> {
    return this.#inTurn(async () => {
      for (let round = 0; round < MOST_ROUNDS && this.#changes > FEW_CHANGES; round += 1)
        await this.#sendChanged(true);
    });
  }

  /** Gives the rest, while nobody serves. @throws what could not be given. */
  finish(): Promise<void> {
    return this.#inTurn(async () => {
      for (const given of this.#given) await this.#send(given, given.link.rest(given.version), false);
      if (this.#failure !== undefined) throw this.#failure;
      this.#isOver = true;
    });
  }

  /** Gives back to one that has all of it but for what has changed since it gave it away. What cannot be given is left. */
  giveBack(wants: readonly Want[]): Promise<void> {
    this.#given = wants.flatMap((want) => this.#match(want) ?? []);
    this.#isOver = true;
    return this.#inTurn(async () => {
      for (const given of this.#given) {
        const failed = (cause: unknown) =>
          warn(
            `state ${given.piece.name} was not given back: ${asMoultError(cause, 'MOULT_STATE_FAILED').message}`,
          );
        await this.#sendAll(given, given.link.rest(given.version), failed);
      }
    });
  }

  /** Tells what changes here to one that has served until now, and may have to again. */
  mirror(wants: readonly Want[]): void {
    this.#given = wants.flatMap((want) => this.#match(want) ?? []);
    this.#isOver = true;
    this.follow();
  }

  /**
   * Goes on for one whose other side is gone: this side has all but what that one has not read.
   * @param wants what this side takes. Of jobs nothing goes there: what was not read of them runs here.
   */
  goOn(wants: readonly Want[], former: StateGiver): void {
    this.#given = wants.flatMap((want) => {
      const given = this.#match(want);
      return given !== undefined && !given.piece.keepsUnread && former.gives(given.piece) ? given : [];
    });
    for (const { piece, link, version } of this.#given) {
      link.goOn(this.#pieces.link(piece, former.#channel));
      this.#channel.send({ type: 'state-part', name: piece.name, version, isWhole: true });
    }
    this.#isOver = true;
    this.follow();
  }

  /** From now on what changes is told as it changes. */
  follow(): void {
    this.#isFollowed = true;
    for (const { link } of this.#given) link.note(() => this.#followSoon());
    if (this.#changes > 0) this.#followSoon();
  }

  /** Waits until all that has changed so far is on its way. */
  settled(): Promise<void> {
    return this.#inTurn(() => this.#sendChanges());
  }

  /** The service has finished here: tells what is left to tell. @returns when that is read, the other side is gone, or the time is over. */
  async tellRest(withinMs: number): Promise<void> {
    await this.#inTurn(async () => {
      await this.#sendChanges();
      for (const given of this.#given.filter(({ late }) => late))
        await this.#tell(given, given.link.late(given.version));
    });
    if (!this.#isStopped) await this.#unread.allRead(withinMs);
  }

  /** Nothing more is told: warns of what nobody has read. */
  end(): void {
    if (this.isCutOff) this.#warnOfUnread();
    this.stop();
    this.forget();
  }

  /** Gives no more. What changes here is still noted: what comes back must not undo it. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#unread.stop();
  }

  /** Notes nothing more for the other side. */
  forget(): void {
    this.#pieces.forget(this.#channel);
  }

  // Jobs that were not read have run here.
  #warnOfUnread(): void {
    for (const { piece, link } of this.#given) {
      const count = link.unread?.size ?? 0;
      if (count > 0 && !piece.keepsUnread)
        warn(
          `${count} late changes to state ${piece.name} are lost: the generation that took over ended before it read them, and no later one had come to this process for them`,
        );
    }
  }

  get #changes(): number {
    return this.#given.reduce((sum, { link }) => sum + link.changes, 0);
  }

  #agree(wants: readonly Want[]): Given[] {
    return wants.flatMap((want) => {
      const piece = this.#pieces.get(want.name);
      if (piece === undefined) return [];
      const given = this.#match(want);
      if (given !== undefined) return given;
      const here = `${piece.oldestVersion} to ${piece.version}`;
      const told = `state ${want.name}: the predecessor can give versions ${here}, the successor reads ${want.min} to ${want.max}`;
      throw new MoultError('MOULT_STATE_VERSION', told);
    });
  }

  #match(want: Want): Given | undefined {
    const piece = this.#pieces.get(want.name);
    const version = piece && versionFor(piece, want);
    if (piece === undefined || version === undefined) return undefined;
    const link = this.#pieces.link(piece, this.#channel);
    return { piece, link, version, late: want.late === true && piece.wantsLate, bytes: 0 };
  }

  // In the same turn of the event loop: whoever is told that something is done may kill this process next.
  #followSoon(): void {
    if (this.#isFollowing || this.#isStopped || !this.#isFollowed) return;
    this.#isFollowing = true;
    queueMicrotask(() => {
      this.#isFollowing = false;
      if (this.#inLine === 0) this.#sendAtOnce();
      if (this.#inLine > 0 || this.#changes > 0) void this.settled();
    });
  }

  // Before the service says that it is done, where it says so after an await.
  #sendAtOnce(): void {
    for (const given of this.#given) {
      if (given.link.changes === 0 || this.#isStopped) continue;
      const parts = given.link.rest(given.version);
      try {
        const step = this.#sendWhatFits(given, parts);
        // The rest of it, or what could not be sent.
        if (step !== undefined) void this.#inTurn(() => this.#tell(given, parts, step));
      } catch (cause) {
        this.#couldNotTell(given, cause);
      }
    }
  }

  /** @returns the part at which it has to wait; undefined when all is sent. */
  #sendWhatFits(given: Given, parts: Parts): Step | undefined {
    let step = parts.next(0);
    while (!step.done && this.#inLine === 0 && this.#unread.hasRoom) {
      if (step.value instanceof Promise) return step;
      let bytes: Buffer;
      try {
        bytes = encodePart(given.piece.name, step.value);
      } catch {
        return step;
      }
      if (bytes.length > FRAME_BYTES || (bytes.length > given.piece.maxBytes && !this.#isOver)) return step;
      given.bytes += bytes.length;
      this.#sendFrame(given, bytes, false);
      given.link.sent?.(this.#unread.sent);
      step = parts.next(bytes.length);
    }
    return step.done ? undefined : step;
  }

  async #sendChanges(): Promise<void> {
    for (const given of this.#given) {
      if (given.link.changes > 0 && !this.#isStopped) await this.#tell(given, given.link.rest(given.version));
    }
  }

  async #sendChanged(isPolite: boolean): Promise<void> {
    for (const given of this.#given) {
      if (given.link.changes > 0) await this.#send(given, given.link.rest(given.version), isPolite);
    }
  }

  // What cannot be told before the handover keeps it from taking place; later it is lost, and nothing else is.
  #tell(given: Given, parts: Parts, from?: Step): Promise<void> {
    return this.#sendAll(given, parts, (cause) => this.#couldNotTell(given, cause), from);
  }

  // What cannot be sent keeps nothing else of it back.
  async #sendAll(given: Given, parts: Parts, failed: (cause: unknown) => void, from?: Step): Promise<void> {
    try {
      await this.#send(given, parts, false, from);
    } catch (cause) {
      failed(cause);
      if (this.#isOver && given.link.changes > 0)
        await this.#sendAll(given, given.link.rest(given.version), failed);
    }
  }

  #couldNotTell({ piece }: Given, cause: unknown): void {
    const error = asMoultError(cause, 'MOULT_STATE_FAILED');
    if (this.#isOver) warn(`late changes to state ${piece.name} are lost: ${error.message}`);
    else this.#failure ??= error;
  }

  // One after another: a part may go in several frames.
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#inLine += 1;
    const turn = this.#last.then(work);
    const over = () => {
      this.#inLine -= 1;
    };
    this.#last = turn.then(over, over);
    return turn;
  }

  /** @param isPolite lets the service have its turns between two parts. @param from the part that is next, where some are sent. */
  async #send(given: Given, parts: Parts, isPolite: boolean, from?: Step): Promise<void> {
    let next = await sendable(given.piece.name, parts, from ?? parts.next(0));
    let sum = 0;
    while (next !== undefined && !this.#isStopped) {
      const { piece } = given;
      const { bytes } = next;
      given.bytes += bytes.length;
      sum += bytes.length;
      // Later it would be lost: then the next handover is refused.
      if (sum > piece.maxBytes && !this.#isOver) {
        const size = piece.isOnePart ? sum : `at least ${sum}`;
        const told = `state ${piece.name}: expected at most ${piece.maxBytes} bytes, it has ${size}`;
        throw new MoultError('MOULT_STATE_TOO_LARGE', told);
      }
      if (this.#isNew(given, bytes)) await this.#sendPart(given, bytes);
      if (isPolite) await nextTurn();
      next = await sendable(piece.name, parts, parts.next(bytes.length));
    }
  }

  #isNew(given: Given, bytes: Buffer): boolean {
    if (!given.piece.isOnePart) return true;
    const digest = createHash('sha1').update(bytes).digest('hex');
    const isNew = digest !== given.digest;
    given.digest = digest;
    return isNew;
  }

  async #sendPart(given: Given, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      while (!this.#unread.hasRoom && !this.#isStopped) await this.#unread.roomMade();
      if (this.#isStopped) return;
      this.#sendFrame(given, bytes.subarray(at, at + FRAME_BYTES), at + FRAME_BYTES < bytes.length);
    }
    given.link.sent?.(this.#unread.sent);
  }

  #sendFrame({ piece: { name }, version }: Given, bytes: Buffer, goesOn: boolean): void {
    this.#unread.add(bytes.length);
    // What is given after something was taken was made by one that knew it: the other side is to see that.
    this.#pieces.sayRead(this.#channel);
    this.#channel.send({ type: 'state-part', name, version, ...(goesOn ? { goesOn } : {}) }, [], bytes);
  }
}
