import { type FixedBytes, fixedBytes } from '../../os/libcrypto.js';
import { HEADER_BYTES } from './record.js';

/** From this on what was read is opened into memory of its own: no copy. Less is opened where it lies. */
const LARGE_READ_BYTES = 4096;

/** A piece of content in memory that will be used again. */
interface Piece {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/** Puts together what the records of one read hold. */
export class ReadContent {
  #pieces: Piece[] = [];
  #room: FixedBytes | undefined;
  /** How much of the room is content, and up to where something was written into it. */
  #end = 0;
  #touched = 0;

  /** Makes ready for a read of so many bytes, behind so many that were kept. */
  begin(readBytes: number, keptBytes: number): void {
    if (readBytes >= LARGE_READ_BYTES) this.#room = fixedBytes(keptBytes + readBytes);
  }

  /** The memory into which a record is opened that lies in this one, */
  memoryFor(memory: FixedBytes): FixedBytes {
    return this.#room ?? memory;
  }

  /** and where in it. @param at where its header is. @param bodyBytes how much is written at most. */
  placeFor(at: number, bodyBytes: number): number {
    if (this.#room === undefined) return at + HEADER_BYTES;
    this.#touched = Math.max(this.#touched, this.#end + bodyBytes);
    return this.#end;
  }

  /** Takes what is content of the record that was opened last. */
  add(bytes: Buffer, from: number, to: number): void {
    if (this.#room !== undefined) this.#end = to;
    else if (to > from) this.#pieces.push({ bytes, from, to });
  }

  /** What all records held, in memory of its own; undefined for nothing. */
  take(): Buffer | undefined {
    const room = this.#room;
    return room === undefined ? this.#joined() : this.#filled(room.bytes);
  }

  #filled(bytes: Buffer): Buffer | undefined {
    const end = this.#end;
    bytes.fill(0, end, Math.min(this.#touched, bytes.length));
    this.#room = undefined;
    this.#end = 0;
    this.#touched = 0;
    if (end === 0) return undefined;
    const content = bytes.subarray(0, end);
    // Whoever keeps a few bytes does not keep a large memory for them.
    return end * 2 < bytes.length ? Buffer.from(content) : content;
  }

  #joined(): Buffer | undefined {
    const pieces = this.#pieces;
    const [only] = pieces;
    if (only === undefined) return undefined;
    this.#pieces = [];
    if (pieces.length === 1) return Buffer.from(only.bytes.subarray(only.from, only.to));
    let length = 0;
    for (const { from, to } of pieces) length += to - from;
    const content = Buffer.allocUnsafe(length);
    let at = 0;
    for (const { bytes, from, to } of pieces) at += bytes.copy(content, at, from, to);
    return content;
  }
}
