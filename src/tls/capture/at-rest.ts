import { exportedFunction } from '../../os/libc.js';
import { MAX_PLAINTEXT_BYTES } from '../state/tls-state.js';

/*
 * What OpenSSL says of a connection, by its public functions. They are called with addresses of SSL objects that were
 * recognised before. Source: the manual pages of OpenSSL 3.0 and 3.5.
 */

type OfSsl = (ssl: bigint) => number;

interface OpenSsl {
  readonly hasPending: OfSsl;
  readonly isInHandshake: OfSsl;
  readonly shutdownState: OfSsl;
  readonly keyUpdateType: OfSsl;
  readonly recordState: (ssl: bigint) => string;
  readonly readBio: (ssl: bigint) => unknown;
  readonly writeBio: (ssl: bigint) => unknown;
  readonly bioControl: (bio: unknown, command: number, larg: number, parg: null) => number | bigint;
  readonly session: (ssl: bigint) => unknown;
  readonly maxFragmentCode: (session: unknown) => number;
}

const BIO_CTRL_PENDING = 10;
const SSL_KEY_UPDATE_NONE = -1;
/** `SSL_rstate_string` while the next thing to be read is the header of a record, and nothing of it was read. */
const READ_HEADER = 'RH';
/** The codes of max_fragment_length; each stands for 256 bytes shifted by it. Source: RFC 6066, 4. */
const LARGEST_FRAGMENT_CODE = 4;

let loaded: OpenSsl | undefined;

/** @throws an error that names the function that this Node does not export. */
export function openSsl(): OpenSsl {
  loaded ??= {
    hasPending: exportedFunction('int SSL_has_pending(void *ssl)') as OfSsl,
    isInHandshake: exportedFunction('int SSL_in_init(void *ssl)') as OfSsl,
    shutdownState: exportedFunction('int SSL_get_shutdown(void *ssl)') as OfSsl,
    keyUpdateType: exportedFunction('int SSL_get_key_update_type(void *ssl)') as OfSsl,
    recordState: exportedFunction('str SSL_rstate_string(void *ssl)') as (ssl: bigint) => string,
    readBio: exportedFunction('void *SSL_get_rbio(void *ssl)'),
    writeBio: exportedFunction('void *SSL_get_wbio(void *ssl)'),
    bioControl: exportedFunction(
      'long BIO_ctrl(void *bio, int command, long larg, void *parg)',
    ) as OpenSsl['bioControl'],
    session: exportedFunction('void *SSL_get_session(void *ssl)'),
    maxFragmentCode: exportedFunction(
      'uint8_t SSL_SESSION_get_max_fragment_length(void *session)',
    ) as OpenSsl['maxFragmentCode'],
  };
  return loaded;
}

/**
 * Why a connection is not at rest below HTTP; undefined for one that is: nothing of a record was read, nothing waits to be
 * written, and no handshake, key update or shutdown is under way.
 */
export function unrest(ssl: bigint): string | undefined {
  const c = openSsl();
  if (c.isInHandshake(ssl) !== 0) return 'a handshake message was not finished';
  if (c.shutdownState(ssl) !== 0) return 'it is being closed';
  if (c.hasPending(ssl) !== 0 || isPending(c.readBio(ssl))) return 'part of a record had come';
  // What was read of a header is counted nowhere: without this look such a connection would stand still for ever.
  if (c.recordState(ssl) !== READ_HEADER) return 'the header of a record had come';
  if (isPending(c.writeBio(ssl))) return 'a record was not sent';
  return c.keyUpdateType(ssl) === SSL_KEY_UPDATE_NONE ? undefined : 'an update of keys was not finished';
}

/** The largest plaintext that the client takes, in bytes, as it said with max_fragment_length. */
export function largestPlaintext(ssl: bigint): number {
  const c = openSsl();
  const code = c.maxFragmentCode(c.session(ssl));
  return code >= 1 && code <= LARGEST_FRAGMENT_CODE ? 256 << code : MAX_PLAINTEXT_BYTES;
}

function isPending(bio: unknown): boolean {
  return Number(openSsl().bioControl(bio, BIO_CTRL_PENDING, 0, null)) !== 0;
}
