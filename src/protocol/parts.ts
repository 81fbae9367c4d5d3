import { MoultError } from '../errors.js';
import { decodeBody, type Frame, MAX_JSON_BYTES } from './frame.js';
import { MAX_DESCRIPTORS } from './limits.js';
import { parsePart } from './operator-messages.js';

/** The longest JSON of a message that comes in parts. */
export const MAX_WHOLE_BYTES = 12 * 1024 * 1024;
/** A release of moult from before parts takes lists of listeners of at most so many. */
export const OLDER_LISTENERS = 253;

/** What goes into one frame, and how many of the descriptors of the message go beside it. */
export interface MessagePart {
  readonly message:
    | { readonly type: 'part' }
    | { readonly type: 'whole'; readonly bytes: number; readonly count: number };
  readonly attachment: Buffer;
  readonly descriptors: number;
}

/** Whether a message goes in one frame. @param jsonBytes the length of its JSON. */
export function goesInOne(jsonBytes: number, descriptors: number): boolean {
  return jsonBytes <= MAX_JSON_BYTES && descriptors <= MAX_DESCRIPTORS;
}

/**
 * Cuts a message that does not go in one frame: its JSON and its descriptors over several parts, and a last frame that
 * has its attachment.
 * @throws MOULT_PROTOCOL_FRAME when it is longer than a message in parts may be.
 */
export function cutInParts(json: Buffer, descriptors: number, attachment: Buffer): MessagePart[] {
  if (json.length > MAX_WHOLE_BYTES) throw tooLong(json.length);
  const parts: MessagePart[] = [];
  for (let [at, fds] = [0, descriptors]; at < json.length || fds > 0; ) {
    const piece = json.subarray(at, at + MAX_JSON_BYTES);
    const beside = Math.min(fds, MAX_DESCRIPTORS);
    parts.push({ message: { type: 'part' }, attachment: piece, descriptors: beside });
    at += piece.length;
    fds -= beside;
  }
  parts.push({
    message: { type: 'whole', bytes: json.length, count: descriptors },
    attachment,
    descriptors: 0,
  });
  return parts;
}

/** Puts together what came in parts. */
export class PartsReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #isInside = false;

  /** Whether the end of a message is still to come. */
  get isInside(): boolean {
    return this.#isInside;
  }

  /**
   * Takes the next frame.
   * @param descriptors how many came since the last whole message, beside this frame too.
   * @param isTruncated whether the kernel dropped some of them.
   * @returns the message's own frame; undefined while more of it is to come.
   * @throws MOULT_PROTOCOL_FRAME; the reader must not be used afterwards.
   */
  push(frame: Frame, descriptors: number, isTruncated: boolean): Frame | undefined {
    const { type } = frame.message;
    if (type !== 'part' && type !== 'whole') {
      if (this.#isInside) throw broken(`its end, received ${type}`);
      return frame;
    }
    const message = parsePart(frame);
    if (message.type === 'part') {
      this.#isInside = true;
      this.#bytes += frame.attachment.length;
      if (this.#bytes > MAX_WHOLE_BYTES) throw tooLong(this.#bytes);
      this.#pieces.push(frame.attachment);
      return undefined;
    }
    const { bytes, count } = message;
    const isAll = bytes === this.#bytes && (isTruncated ? descriptors <= count : descriptors === count);
    if (!this.#isInside || !isAll) {
      throw broken(`${bytes} bytes and ${count} descriptors, received ${this.#bytes} and ${descriptors}`);
    }
    const { message: whole } = decodeBody(Buffer.concat(this.#pieces), bytes);
    this.#pieces = [];
    this.#bytes = 0;
    this.#isInside = false;
    return { message: whole, attachment: frame.attachment };
  }
}

/**
 * Checks that a release of moult from before parts takes a message.
 * @throws MOULT_TOO_LARGE with what there is, and what it takes.
 */
export function assertForOlder(
  message: Readonly<Record<string, unknown>>,
  jsonBytes: number,
  descriptors: number,
): void {
  for (const [what, list] of [
    ['listeners', message.listeners],
    ['listeners', message.claims],
  ] as const) {
    if (Array.isArray(list) && list.length > OLDER_LISTENERS)
      throw forOlder(`${list.length} ${what}`, OLDER_LISTENERS);
  }
  if (descriptors > MAX_DESCRIPTORS) throw forOlder(`${descriptors} descriptors`, MAX_DESCRIPTORS);
  if (jsonBytes > MAX_JSON_BYTES) throw forOlder(`${jsonBytes} bytes of JSON`, MAX_JSON_BYTES);
}

function forOlder(what: string, limit: number): MoultError {
  return new MoultError(
    'MOULT_TOO_LARGE',
    `there are ${what}, but the other side runs an older release of moult, which accepts at most ${limit.toLocaleString('en-US')}`,
  );
}

function tooLong(bytes: number): MoultError {
  return new MoultError(
    'MOULT_PROTOCOL_FRAME',
    `expected a message of at most ${MAX_WHOLE_BYTES} bytes of JSON, it has ${bytes}`,
  );
}

function broken(what: string): MoultError {
  return new MoultError('MOULT_PROTOCOL_FRAME', `a message came in parts: expected ${what}`);
}
