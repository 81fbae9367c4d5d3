import { deserialize, serialize } from 'node:v8';
import { MoultError } from '../../errors.js';
import {
  MAX_PLAINTEXT_BYTES,
  secretBytes,
  TLS13_CIPHERS,
  type TlsFacts,
  type TlsState,
} from './tls-state.js';

/** The most bytes that the state of one connection may take on its way; nearly all of it are certificates of its client. */
export const MAX_STATE_BYTES = 64 * 1024;
/** Certificates of a client with those above it. */
const MAX_CERTIFICATES = 16;
/** A record whose rest has not come, with its header. Source: RFC 8446, 5.2. */
const MAX_LEFT_BYTES = 5 + MAX_PLAINTEXT_BYTES + 256;
const MAX_SEQUENCE = 2n ** 53n;
const SMALLEST_FRAGMENT_BYTES = 64;

/** The state of a connection as bytes for another process; secret. Undefined where it is too large to travel. */
export function encodeTlsState(state: TlsState): Buffer | undefined {
  const bytes = serialize(state);
  if (bytes.length <= MAX_STATE_BYTES) return bytes;
  bytes.fill(0);
  return undefined;
}

/** @throws MOULT_RESTORE_FAILED for anything but a state that can be gone on with; the message holds nothing of it. */
export function decodeTlsState(bytes: Buffer): TlsState {
  let value: unknown;
  try {
    value = deserialize(bytes);
  } catch {
    return refuse('a value of v8.serialize');
  }
  const {
    cipher,
    clientSecret,
    serverSecret,
    exporterSecret,
    readSequence,
    writeSequence,
    left,
    maxSend,
    wantedSend,
    facts,
  } = objectOf(value, 'a state');
  const suite = TLS13_CIPHERS.find((one) => one === cipher) ?? refuse('a cipher of TLS 1.3');
  const length = secretBytes(suite);
  return {
    cipher: suite,
    clientSecret: bytesOf(clientSecret, 'clientSecret', length, length),
    serverSecret: bytesOf(serverSecret, 'serverSecret', length, length),
    exporterSecret: bytesOf(exporterSecret, 'exporterSecret', length, length),
    readSequence: sequenceOf(readSequence, 'readSequence'),
    writeSequence: sequenceOf(writeSequence, 'writeSequence'),
    left: bytesOf(left, 'left', 0, MAX_LEFT_BYTES),
    maxSend: sizeOf(maxSend, 'maxSend'),
    // Releases of moult before the one that knows it send none.
    ...(wantedSend === undefined ? {} : { wantedSend: sizeOf(wantedSend, 'wantedSend') }),
    facts: factsOf(facts),
  };
}

function factsOf(value: unknown): TlsFacts {
  const facts = objectOf(value, 'facts');
  const { authorizationError, peerCertificates, ephemeralKeyInfo, sharedSigalgs } = facts;
  if (!Array.isArray(peerCertificates) || peerCertificates.length > MAX_CERTIFICATES)
    return refuse(`at most ${MAX_CERTIFICATES} peerCertificates`);
  if (!Array.isArray(sharedSigalgs) || !sharedSigalgs.every(isText)) return refuse('texts as sharedSigalgs');
  return {
    servername: textOrFalse(facts.servername, 'servername'),
    alpnProtocol: textOrFalse(facts.alpnProtocol, 'alpnProtocol'),
    authorized: facts.authorized === true,
    authorizationError: isText(authorizationError) ? authorizationError : null,
    peerCertificates: peerCertificates.map((one) => bytesOf(one, 'peerCertificates', 1, MAX_STATE_BYTES)),
    certificate: optionalBytes(facts.certificate, 'certificate'),
    session: optionalBytes(facts.session, 'session'),
    isSessionReused: facts.isSessionReused === true,
    finished: optionalBytes(facts.finished, 'finished'),
    peerFinished: optionalBytes(facts.peerFinished, 'peerFinished'),
    ephemeralKeyInfo: typeof ephemeralKeyInfo === 'object' ? ephemeralKeyInfo : null,
    sharedSigalgs,
  };
}

function objectOf(value: unknown, name: string): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : refuse(name);
}

function bytesOf(value: unknown, name: string, least: number, most: number): Buffer {
  if (!(value instanceof Uint8Array) || value.length < least || value.length > most) {
    return refuse(`${least === most ? least : `${least} to ${most}`} bytes as ${name}`);
  }
  // A copy of its own: what travelled is filled with zeros.
  return Buffer.alloc(value.length, value);
}

function optionalBytes(value: unknown, name: string): Buffer | undefined {
  return value === undefined || value === null ? undefined : bytesOf(value, name, 0, MAX_STATE_BYTES);
}

function sequenceOf(value: unknown, name: string): bigint {
  return typeof value === 'bigint' && value >= 0n && value < MAX_SEQUENCE
    ? value
    : refuse(`a number of records as ${name}`);
}

function sizeOf(value: unknown, name: string): number {
  const isRight =
    Number.isInteger(value) &&
    Number(value) >= SMALLEST_FRAGMENT_BYTES &&
    Number(value) <= MAX_PLAINTEXT_BYTES;
  return isRight ? Number(value) : refuse(`${SMALLEST_FRAGMENT_BYTES} to ${MAX_PLAINTEXT_BYTES} as ${name}`);
}

function textOrFalse(value: unknown, name: string): string | false {
  return value === false || isText(value) ? value : refuse(`a text or false as ${name}`);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function refuse(expected: string): never {
  throw new MoultError('MOULT_RESTORE_FAILED', `the state of a TLS connection: expected ${expected}`);
}
