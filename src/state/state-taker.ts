import { deserialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import { MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import type { StateEntries } from './state-entries.js';

/** How much is said to be read at once, though more is just being taken: the other side waits at 4 MiB. */
const MOST_UNSAID_BYTES = 1024 * 1024;

/** Takes pieces of state from the other side of a channel, part by part, in the order in which they come. */
export class StateTaker {
  #channel: Channel;
  #pieces: StateEntries;
  #onFailure: (error: MoultError) => void;
  #onPart: () => void;
  /** Bytes of a part that comes in several frames. */
  #begun: Buffer[] = [];
  #begunBytes = 0;
  #bytesOf = new Map<string, number>();
  #wholes = new Set<string>();
  #last: Promise<void> | undefined;
  /** What was taken, and the other side was not told of. */
  #unsaidBytes = 0;
  #failure: MoultError | undefined;
  /** Whether pieces may have no more bytes than they declare. */
  #isLimited = true;

  /**
   * @param onFailure told of each part that could not be taken.
   * @param onPart told of each part that comes.
   * @param before what comes first, whatever comes here meanwhile.
   */
  constructor(
    channel: Channel,
    pieces: StateEntries,
    onFailure: (error: MoultError) => void,
    onPart: () => void = () => {},
    before?: Promise<void>,
  ) {
    this.#channel = channel;
    this.#pieces = pieces;
    this.#onFailure = onFailure;
    this.#onPart = onPart;
    if (before !== undefined) this.#after(() => before);
    pieces.takenBy(channel, () => this.#sayRead());
    channel.on('state-part', (part, { attachment }) => this.#receive(part, attachment));
  }

  /** Nothing can be refused any more: what comes from now on may have any size. */
  takeAnySize(): this {
    this.#isLimited = false;
    return this;
  }

  /** Why a piece could not be taken: the first. */
  get failure(): MoultError | undefined {
    return this.#failure;
  }

  /**
   * Asks for all that this generation can take.
   * @returns when it is here; or when the other side is gone, and what is not whole has been dropped.
   * @throws what a piece could not be taken for.
   */
  async want(): Promise<void> {
    const wants = this.#pieces.wants();
    if (wants.length === 0) return;
    const copied = new Promise<void>((resolve) => {
      this.#channel.on('state-copied', () => resolve());
    });
    this.#channel.send({ type: 'state-want', pieces: wants });
    await Promise.race([copied, this.#channel.closed]);
    await this.#settled();
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#channel.isClosed) return;
    for (const piece of this.#pieces.all()) {
      const isCut = this.#bytesOf.has(piece.name) && !this.#wholes.has(piece.name);
      if (isCut) piece.drop();
    }
  }

  /** Calls back once all that has come so far is taken: at once where nothing is pending. */
  whenTaken(callback: () => void): void {
    if (this.#last === undefined) callback();
    else this.#settled().then(callback);
  }

  async #settled(): Promise<void> {
    while (this.#last !== undefined) await this.#last;
  }

  #receive(part: Message<'state-part'>, bytes: Buffer): void {
    this.#onPart();
    if (part.isWhole) {
      this.#wholes.add(part.name);
      return;
    }
    const isTooLarge = this.#isTooLarge(part.name, bytes.length);
    this.#begunBytes += bytes.length;
    if (isTooLarge) this.#begun = [];
    else this.#begun.push(bytes);
    if (part.goesOn || isTooLarge) {
      if (!part.goesOn) this.#begunBytes = 0;
      // In turn: what came before it is not read before it is taken.
      this.#after(() => this.#read(bytes.length));
      return;
    }
    const whole = this.#begun.length === 1 ? bytes : Buffer.concat(this.#begun, this.#begunBytes);
    this.#begun = [];
    this.#begunBytes = 0;
    this.#after(() => this.#take(part, whole, bytes.length));
  }

  // The other side keeps to its own limit, this one to ours: in all of a copy, and in each part later.
  #isTooLarge(name: string, bytes: number): boolean {
    if (!this.#isLimited) return false;
    const before = this.#wholes.has(name) ? this.#begunBytes : (this.#bytesOf.get(name) ?? 0);
    this.#bytesOf.set(name, before + bytes);
    const limit = this.#pieces.get(name)?.maxBytes ?? 0;
    if (before + bytes <= limit) return false;
    if (before <= limit) {
      const told = `state ${name}: expected at most ${limit} bytes in this release, it has at least ${before + bytes}`;
      this.#couldNotTake(new MoultError('MOULT_STATE_TOO_LARGE', told));
    }
    return true;
  }

  async #take({ name, version }: Message<'state-part'>, bytes: Buffer, lastBytes: number): Promise<void> {
    const piece = this.#pieces.get(name);
    try {
      const taken = piece && this.#pieces.link(piece, this.#channel).take(deserialize(bytes), version);
      // At once where it is: what changes here next was changed by one that knew.
      if (taken instanceof Promise) await taken;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const told = `state ${name}, version ${version}, could not be restored: ${why}`;
      this.#couldNotTake(new MoultError('MOULT_STATE_FAILED', told, { cause }));
    }
    this.#read(lastBytes);
  }

  // The other pieces are taken all the same: what was acknowledged of them is nowhere else.
  #couldNotTake(failure: MoultError): void {
    this.#failure ??= failure;
    this.#onFailure(failure);
  }

  // Of all that came at once in one message: each is work for both sides, just when jobs change hands.
  #read(bytes: number): void {
    if (this.#unsaidBytes >= MOST_UNSAID_BYTES) this.#sayRead();
    this.#unsaidBytes += bytes;
  }

  #sayRead(): void {
    if (this.#unsaidBytes > 0) this.#channel.send({ type: 'state-read', bytes: this.#unsaidBytes });
    this.#unsaidBytes = 0;
  }

  #after(work: () => void | Promise<void>): void {
    const before = this.#last ?? Promise.resolve();
    const now = before.then(work);
    this.#last = now;
    now.then(() => {
      if (this.#last !== now) return;
      this.#last = undefined;
      // Our own successor has been told by now: of the two that outlive this process one has it.
      this.#sayRead();
    });
  }
}
