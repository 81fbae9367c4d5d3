import { MoultError } from '../errors.js';

/** Bytes before every frame: the length of the JSON part and the length of the attachment, both u32 big-endian. */
export const HEADER_BYTES = 8;
/** The longest JSON part that is read. */
export const MAX_JSON_BYTES = 1024 * 1024;
/** The longest attachment that is read. */
export const MAX_ATTACHMENT_BYTES = 4 * 1024 * 1024;

/** One frame: a JSON object with a `type`, and raw bytes that belong to it (empty when there are none). */
export interface Frame {
  readonly message: { readonly type: string } & Record<string, unknown>;
  readonly attachment: Buffer;
}

const NO_BYTES = Buffer.alloc(0);

/**
 * Encodes one frame.
 * @throws MOULT_PROTOCOL_FRAME when a part is over its limit.
 */
export function encodeFrame(message: object, attachment: Buffer = NO_BYTES): Buffer {
  const json = Buffer.from(JSON.stringify(message), 'utf8');
  checkLengths(json.length, attachment.length);
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(json.length, 0);
  header.writeUInt32BE(attachment.length, 4);
  return Buffer.concat([header, json, attachment]);
}

/**
 * The lengths that a header announces, checked against the limits.
 * @param header at least {@link HEADER_BYTES} bytes.
 */
export function decodeHeader(header: Buffer): { jsonBytes: number; attachmentBytes: number } {
  const jsonBytes = header.readUInt32BE(0);
  const attachmentBytes = header.readUInt32BE(4);
  checkLengths(jsonBytes, attachmentBytes);
  return { jsonBytes, attachmentBytes };
}

/** The frame whose body follows a header. The attachment is a copy, so that the body's memory is not kept. */
export function decodeBody(body: Buffer, jsonBytes: number): Frame {
  let message: unknown;
  try {
    message = JSON.parse(body.toString('utf8', 0, jsonBytes));
  } catch (cause) {
    throw new MoultError('MOULT_PROTOCOL_FRAME', 'expected a frame of JSON, received something else', {
      cause,
    });
  }
  if (!isTyped(message)) {
    throw new MoultError(
      'MOULT_PROTOCOL_FRAME',
      'expected a JSON object with a type, received another value',
    );
  }
  const attachment = body.length > jsonBytes ? Buffer.from(body.subarray(jsonBytes)) : NO_BYTES;
  return { message, attachment };
}

/** Cuts a byte stream into frames, whatever its chunks. */
export class FrameReader {
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #wanted = HEADER_BYTES;
  #header: { jsonBytes: number; attachmentBytes: number } | undefined;

  /** The bytes of an unfinished frame that are held. */
  get heldBytes(): number {
    return this.#pendingBytes;
  }

  /** Whether a frame has begun and is not whole. */
  get isInFrame(): boolean {
    return this.#pendingBytes > 0 || this.#header !== undefined;
  }

  /**
   * Takes the next chunk and returns the frames that it completes, in order.
   * @throws MOULT_PROTOCOL_FRAME; the reader must not be used afterwards.
   */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    while (this.#pendingBytes >= this.#wanted) {
      const bytes = this.#take(this.#wanted);
      if (this.#header === undefined) {
        this.#header = decodeHeader(bytes);
        this.#wanted = this.#header.jsonBytes + this.#header.attachmentBytes;
      } else {
        frames.push(decodeBody(bytes, this.#header.jsonBytes));
        this.#header = undefined;
        this.#wanted = HEADER_BYTES;
      }
    }
    return frames;
  }

  #take(length: number): Buffer {
    const whole = this.#pending.length === 1 ? this.#pending[0] : undefined;
    const all = whole ?? Buffer.concat(this.#pending);
    const rest = all.subarray(length);
    this.#pending = rest.length > 0 ? [rest] : [];
    this.#pendingBytes = rest.length;
    return all.subarray(0, length);
  }
}

function checkLengths(jsonBytes: number, attachmentBytes: number): void {
  if (jsonBytes < 2 || jsonBytes > MAX_JSON_BYTES) {
    throw new MoultError(
      'MOULT_PROTOCOL_FRAME',
      `expected a frame of 2 to ${MAX_JSON_BYTES} bytes of JSON, received one of ${jsonBytes}`,
    );
  }
  if (attachmentBytes > MAX_ATTACHMENT_BYTES) {
    throw new MoultError(
      'MOULT_PROTOCOL_FRAME',
      `expected an attachment of at most ${MAX_ATTACHMENT_BYTES} bytes, received one of ${attachmentBytes}`,
    );
  }
}

function isTyped(value: unknown): value is { type: string } & Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    typeof (value as { type: unknown }).type === 'string'
  );
}
