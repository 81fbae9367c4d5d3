import { brokenBy, DECODE_ERROR, ILLEGAL_PARAMETER, type TlsFailure, UNEXPECTED_MESSAGE } from './alerts.js';

/*
 * Messages of the handshake protocol after the handshake. Of those that a client may send, a server that asks for no
 * certificate later understands one: KeyUpdate. Source: RFC 8446, 4.6.
 */

const KEY_UPDATE = 24;
const MESSAGE_HEADER_BYTES = 4;
const MESSAGE_BYTES = MESSAGE_HEADER_BYTES + 1;

/** KeyUpdate as it is sent. @param isRequest whether the other side is asked to update its key, too. */
export function keyUpdateMessage(isRequest: boolean): Buffer {
  return Buffer.from([KEY_UPDATE, 0, 0, 1, isRequest ? 1 : 0]);
}

/** Puts messages together that may come in pieces. */
export class PostHandshakeReader {
  #bytes = Buffer.alloc(MESSAGE_BYTES);
  #have = 0;

  /** Whether the beginning of a message has come and not its end. */
  get isWithin(): boolean {
    return this.#have > 0;
  }

  /**
   * Takes the content of a record.
   * @returns undefined while the message has not come whole.
   */
  take(content: Buffer): 'update' | 'update-and-answer' | TlsFailure | undefined {
    if (content.length === 0) return brokenBy('bad length', UNEXPECTED_MESSAGE);
    const taken = Math.min(content.length, MESSAGE_BYTES - this.#have);
    content.copy(this.#bytes, this.#have, 0, taken);
    this.#have += taken;
    if (this.#have < MESSAGE_HEADER_BYTES) return undefined;
    if (this.#bytes[0] !== KEY_UPDATE) return brokenBy('unexpected message', UNEXPECTED_MESSAGE);
    const length = this.#bytes.readUIntBE(1, 3);
    if (length > 1) return brokenBy('excessive message size', ILLEGAL_PARAMETER);
    if (length === 1 && this.#have < MESSAGE_BYTES) return undefined;
    const rest = this.#have - MESSAGE_HEADER_BYTES - length + content.length - taken;
    this.#have = 0;
    // What follows would be under another key.
    if (rest > 0) return brokenBy('not on record boundary', UNEXPECTED_MESSAGE);
    if (length === 0) return brokenBy('bad key update', DECODE_ERROR);
    const request = this.#bytes[MESSAGE_HEADER_BYTES];
    if (request === 0) return 'update';
    if (request === 1) return 'update-and-answer';
    return brokenBy('bad key update', ILLEGAL_PARAMETER);
  }
}
