import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { serialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import { asMoultError, MoultError } from '../errors.js';
import { type Parts, type Piece, versionFor, type Want } from './piece.js';
import type { Pieces } from './pieces.js';

/** The most bytes of one part that a frame carries; a longer part goes in several. */
const FRAME_BYTES = 1024 * 1024;
/** So many bytes may be on their way: what a peer has not read yet is limited, and connections are on their way, too. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** So few changes may be left to the moment in which nobody serves. */
const FEW_CHANGES = 256;
/** So often is tried to catch up with a service that changes faster than it can be copied. */
const MOST_ROUNDS = 8;

interface Given {
  readonly piece: Piece;
  readonly version: number;
  readonly late: boolean;
  bytes: number;
  /** Of the last part, where that may come again. */
  digest?: string;
}

/**
 * Gives pieces of state to the other side of a channel: all of each while the service goes on, then in rounds what
 * has changed meanwhile, and at the handover the rest. What changes later is told as it comes.
 */
export class StateGiver {
  #channel: Channel;
  #pieces: Pieces;
  #given: Given[] = [];
  #onTheWay = 0;
  #room: (() => void) | undefined;
  #isStopped = false;
  #lateTurn: NodeJS.Immediate | undefined;
  #lastLate = Promise.resolve();

  constructor(channel: Channel, pieces: Pieces) {
    this.#channel = channel;
    this.#pieces = pieces;
    channel.on('state-read', ({ bytes }) => {
      this.#onTheWay = Math.max(0, this.#onTheWay - bytes);
      this.#makeRoom();
    });
    channel.closed.then(() => this.stop());
  }

  /** Whether the other side has asked for something that is here. */
  get hasPieces(): boolean {
    return this.#given.length > 0;
  }

  /** The pieces that nobody has asked for. */
  get left(): string[] {
    const given = new Set(this.#given.map(({ piece }) => piece));
    return this.#pieces.all().flatMap((piece) => (given.has(piece) ? [] : piece.name));
  }

  /** The bytes that were given so far. */
  get bytes(): number {
    return this.#given.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Copies what the other side wants, while the service goes on.
   * @throws MOULT_STATE_FAILED, MOULT_STATE_TOO_LARGE, MOULT_STATE_VERSION
   */
  async copy(wants: readonly Want[]): Promise<void> {
    this.#given = this.#agree(wants);
    for (const given of this.#given) {
      await this.#send(given, given.piece.copy(given.version), true);
      this.#channel.send({
        type: 'state-part',
        name: given.piece.name,
        version: given.version,
        isWhole: true,
      });
    }
    await this.catchUp();
    if (!this.#isStopped) this.#channel.send({ type: 'state-copied' });
  }

  /** Gives what has changed since, in rounds, until little is left; the service goes on. */
  async catchUp(): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS && this.#changes > FEW_CHANGES; round += 1) {
      for (const given of this.#given.filter(({ piece }) => piece.changes > 0)) {
        await this.#send(given, given.piece.rest(given.version), true);
      }
    }
  }

  /** Gives the rest, while nobody serves. */
  async finish(): Promise<void> {
    for (const given of this.#given) await this.#send(given, given.piece.rest(given.version), false);
  }

  /** Gives back to one that has all of it but for what has changed since it gave it away. What cannot be given is left. */
  async giveBack(wants: readonly Want[]): Promise<void> {
    this.#given = wants.flatMap((want) => this.#match(want) ?? []);
    for (const given of this.#given) {
      await this.#send(given, given.piece.rest(given.version), false).catch((cause) =>
        warn(
          `state ${given.piece.name} was not given back: ${asMoultError(cause, 'MOULT_STATE_FAILED').message}`,
        ),
      );
    }
  }

  /** From now on what changes is told as it comes: the other side serves, and requests are still finished here. */
  forward(): void {
    for (const given of this.#given) given.piece.note(() => this.#forwardSoon());
    // By requests in progress, since the rest was given.
    if (this.#changes > 0) this.#forwardSoon();
  }

  /** The service has finished here: tells what is left to tell. */
  async end(): Promise<void> {
    clearImmediate(this.#lateTurn);
    for (const given of this.#given) {
      if (given.piece.changes > 0) await this.#sendLate(given, given.piece.rest(given.version));
      if (given.late) await this.#sendLate(given, given.piece.late(given.version));
    }
    this.stop();
  }

  /** Gives no more. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearImmediate(this.#lateTurn);
    for (const { piece } of this.#given) piece.forget();
    this.#makeRoom();
  }

  get #changes(): number {
    return this.#given.reduce((sum, { piece }) => sum + piece.changes, 0);
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
    return { piece, version, late: want.late === true && piece.wantsLate, bytes: 0 };
  }

  #forwardSoon(): void {
    this.#lateTurn ??= setImmediate(() => {
      this.#lateTurn = undefined;
      const changed = this.#given.filter(({ piece }) => piece.changes > 0);
      for (const given of changed) this.#sendLate(given, given.piece.rest(given.version));
    });
  }

  // One after another: a part may go in several frames. What cannot be told any more is lost, and nothing else is.
  #sendLate(given: Given, parts: Parts): Promise<void> {
    this.#lastLate = this.#lastLate.then(() => this.#tell(given, parts));
    return this.#lastLate;
  }

  #tell(given: Given, parts: Parts): Promise<void> {
    return this.#send(given, parts, false).catch((cause) =>
      warn(
        `what changed late in state ${given.piece.name} is lost: ${asMoultError(cause, 'MOULT_STATE_FAILED').message}`,
      ),
    );
  }

  /** @param isPolite lets the service have its turns between two parts. */
  async #send(given: Given, parts: Parts, isPolite: boolean): Promise<void> {
    let step = parts.next(0);
    let sum = 0;
    while (!step.done && !this.#isStopped) {
      const bytes = encode(given.piece.name, await step.value);
      given.bytes += bytes.length;
      sum += bytes.length;
      if (sum > given.piece.maxBytes) {
        const told = `state ${given.piece.name}: expected at most ${given.piece.maxBytes} bytes, it has more`;
        throw new MoultError('MOULT_STATE_TOO_LARGE', told);
      }
      if (this.#isNew(given, bytes)) await this.#sendPart(given, bytes);
      if (isPolite) await nextTurn();
      step = parts.next(bytes.length);
    }
  }

  #isNew(given: Given, bytes: Buffer): boolean {
    if (!given.piece.isOnePart) return true;
    const digest = createHash('sha1').update(bytes).digest('hex');
    const isNew = digest !== given.digest;
    given.digest = digest;
    return isNew;
  }

  async #sendPart({ piece: { name }, version }: Given, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      while (this.#onTheWay >= WINDOW_BYTES && !this.#isStopped) {
        await new Promise<void>((resolve) => {
          this.#room = resolve;
        });
      }
      if (this.#isStopped) return;
      const piece = bytes.subarray(at, at + FRAME_BYTES);
      const goesOn = at + FRAME_BYTES < bytes.length;
      this.#onTheWay += piece.length;
      this.#channel.send({ type: 'state-part', name, version, ...(goesOn ? { goesOn } : {}) }, [], piece);
    }
  }

  #makeRoom(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.();
  }
}

function encode(name: string, part: unknown): Buffer {
  try {
    return serialize(part);
  } catch (cause) {
    const { message } = asMoultError(cause, 'MOULT_STATE_FAILED');
    throw new MoultError('MOULT_STATE_FAILED', `state ${name} cannot be cloned: ${message}`, { cause });
  }
}

function warn(message: string): void {
  process.emitWarning(message, 'MoultWarning');
}
