import { deserialize, serialize } from 'node:v8';
import { asMoultError, MoultError } from '../../errors.js';
import { MAX_ATTACHMENT_BYTES } from '../../protocol/frame.js';
import { MAX_DATA_BYTES } from './movers.js';

/** The most bytes of data that the connections of one batch take along together; twice that may be unread by a peer. */
export const MAX_BATCH_BYTES = MAX_ATTACHMENT_BYTES;
/** The most bytes of data that one generation takes over from another. */
export const MAX_TOTAL_BYTES = 1024 * 1024 * 1024;

/** What goes along with a connection. */
export interface CarriedState {
  readonly saved: unknown;
  /** What was read of it, and nobody has consumed. */
  readonly unread: Buffer;
  /** What the service wrote while the connection was on its way: bytes for the socket. */
  readonly written: Buffer;
  /** The same, of what its mover held back; undefined for nothing. */
  readonly late: unknown;
  /** The state of its TLS; secret. Undefined for one without TLS. */
  readonly tls: Buffer | undefined;
}

/** What is empty is left out: most have nothing but what was saved, and each buffer costs time on both sides. */
type Travelling = Pick<CarriedState, 'saved'> & Partial<CarriedState>;

const NOTHING = Buffer.alloc(0);

/**
 * What goes along with a connection, as bytes.
 * @throws MOULT_SAVE_FAILED when it holds what no other process can have; MOULT_DATA_TOO_LARGE.
 */
export function encodeCarried({ saved, unread, written, late, tls }: CarriedState, maxBytes: number): Buffer {
  const bytes = encode({
    saved,
    ...(unread.length === 0 ? {} : { unread }),
    ...(written.length === 0 ? {} : { written }),
    ...(late === undefined ? {} : { late }),
    ...(tls === undefined ? {} : { tls }),
  });
  const limit = Math.min(maxBytes + (tls?.length ?? 0), MAX_DATA_BYTES);
  if (bytes.length <= limit) return bytes;
  if (tls !== undefined) bytes.fill(0);
  throw new MoultError(
    'MOULT_DATA_TOO_LARGE',
    `expected at most ${limit} bytes of data for a connection, its service saved ${bytes.length}`,
  );
}

/** @throws MOULT_RESTORE_FAILED */
export function decodeCarried(bytes: Buffer): CarriedState {
  try {
    const { saved, unread = NOTHING, written = NOTHING, late, tls } = deserialize(bytes) as Travelling;
    return { saved, unread, written, late, tls };
  } catch (cause) {
    throw asMoultError(cause, 'MOULT_RESTORE_FAILED');
  }
}

// Source: Node's documentation of v8.serialize: readable by the same and later versions; the format has been the
// same from Node 20 to 26.
function encode(value: Travelling): Buffer {
  try {
    return serialize(value);
  } catch (cause) {
    throw asMoultError(cause, 'MOULT_SAVE_FAILED');
  }
}
