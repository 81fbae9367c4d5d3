import type { TLSSocket } from 'node:tls';
import { handleOf } from '../../node/handle.js';
import { socketBelow } from '../../node/tls-sockets.js';
import { CIPHER_SUITES } from '../keys/cipher-suites.js';
import { exportKeyingMaterial } from '../keys/key-schedule.js';
import { type OpensslOffsets, readPlaces, sslOf } from '../search/openssl-offsets.js';
import { factsOf } from '../state/facts.js';
import { secretBytes, TLS13_CIPHERS, type Tls13Cipher, type TlsState } from '../state/tls-state.js';
import { largestPlaintext, unrest } from './at-rest.js';

/** A record takes so many bytes on the wire at least: its header, the type of its content, and its tag. */
const SMALLEST_RECORD_BYTES = 22n;
const WITNESS_LABEL = 'EXPORTER-moult-capture';
const WITNESS_BYTES = 32;
const NO_BYTES = Buffer.alloc(0);

/** What became of reading a connection's state: it, or why it cannot be read now, or ever. */
export type Capture = { readonly state: TlsState } | { readonly why: string; readonly isForGood: boolean };

/** The cipher of a TLS 1.3 connection, or why it cannot move. */
export function movableCipher(socket: TLSSocket): Tls13Cipher | { readonly why: string } {
  const protocol = socket.getProtocol();
  if (protocol !== 'TLSv1.3')
    return { why: `${protocol ?? 'an unknown version of TLS'}: only TLS 1.3 moves` };
  const { standardName } = socket.getCipher();
  const cipher = TLS13_CIPHERS.find((one) => one === standardName);
  return cipher ?? { why: `TLS with ${standardName}: it cannot move` };
}

/**
 * Reads the state of a connection of Node's own TLS. Its reads must have stopped and its writes must be blocked, in this turn.
 * It is certain, or refused: the object is recognised, its exporter secret gives what Node gives, and its sequence numbers
 * are not greater than what has gone over the wire allows.
 */
export function capture(socket: TLSSocket, places: OpensslOffsets): Capture {
  const cipher = movableCipher(socket);
  if (typeof cipher !== 'string') return { why: cipher.why, isForGood: true };
  const ssl = sslOf(socket, places);
  if (ssl === undefined) return unrecognised('its object was not recognised');
  const why = unrest(ssl);
  if (why !== undefined) return { why: `TLS: ${why}`, isForGood: false };
  const found = readPlaces(socket, places, secretBytes(cipher));
  if (found === undefined) return unrecognised('its state was not readable');
  const { clientSecret, serverSecret, exporterSecret, readSequence, writeSequence } = found;
  const doubt = doubtOf(socket, cipher, exporterSecret, readSequence, writeSequence);
  if (doubt !== undefined) {
    for (const secret of [clientSecret, serverSecret, exporterSecret]) secret.fill(0);
    return unrecognised(doubt);
  }
  const maxSend = largestPlaintext(ssl);
  return {
    state: {
      cipher,
      clientSecret,
      serverSecret,
      exporterSecret,
      readSequence,
      writeSequence,
      left: NO_BYTES,
      maxSend,
      facts: factsOf(socket),
    },
  };
}

/** Why a connection of Node's own TLS is not at rest; undefined for one that is, or that is not recognised. */
export function whyUnrest(socket: TLSSocket, places: OpensslOffsets): string | undefined {
  const ssl = sslOf(socket, places);
  const why = ssl === undefined ? undefined : unrest(ssl);
  return why && `TLS: ${why}`;
}

function doubtOf(
  socket: TLSSocket,
  cipher: Tls13Cipher,
  exporterSecret: Buffer,
  readSequence: bigint,
  writeSequence: bigint,
): string | undefined {
  const wanted = socket.exportKeyingMaterial(WITNESS_BYTES, WITNESS_LABEL, NO_BYTES);
  const ours = exportKeyingMaterial(
    CIPHER_SUITES[cipher],
    exporterSecret,
    WITNESS_LABEL,
    NO_BYTES,
    WITNESS_BYTES,
  );
  if (!ours.equals(wanted)) return 'its secrets were not right';
  const { bytesRead = 0, bytesWritten = 0 } = handleOf(socketBelow(socket)) ?? {};
  const isPossible = (records: bigint, bytes: number) => records * SMALLEST_RECORD_BYTES <= BigInt(bytes);
  return isPossible(readSequence, bytesRead) && isPossible(writeSequence, bytesWritten)
    ? undefined
    : 'its sequence numbers were not possible';
}

function unrecognised(what: string): Capture {
  return { why: `TLS: ${what}`, isForGood: true };
}

/** Whether what was written on the socket of a connection has reached the kernel. */
export function isFlushed(socket: TLSSocket): boolean {
  return (handleOf(socketBelow(socket))?.writeQueueSize ?? 0) === 0;
}
