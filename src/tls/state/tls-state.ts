import type { EphemeralKeyInfo } from 'node:tls';

/** The cipher suites of TLS 1.3 that OpenSSL offers by default. Source: RFC 8446, B.4. */
export const TLS13_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
] as const;

export type Tls13Cipher = (typeof TLS13_CIPHERS)[number];

/** The largest plaintext of a record. Source: RFC 8446, 5.1. */
export const MAX_PLAINTEXT_BYTES = 16_384;

/** How long the secrets of a cipher suite are, in bytes: its hash. */
export function secretBytes(cipher: Tls13Cipher): 32 | 48 {
  return cipher === 'TLS_AES_256_GCM_SHA384' ? 48 : 32;
}

/** What the socket of a TLS server answers about its connection; it is the same for as long as that lives. */
export interface TlsFacts {
  readonly servername: string | false;
  readonly alpnProtocol: string | false;
  readonly authorized: boolean;
  /** The message or code of the error; null where there was none. */
  readonly authorizationError: string | null;
  /** The client's certificate and those above it as far as they are known, each in DER; empty where it sent none. */
  readonly peerCertificates: readonly Buffer[];
  /** The own certificate in DER; undefined where it is not known. */
  readonly certificate: Buffer | undefined;
  /** `getSession()`; secret. */
  readonly session: Buffer | undefined;
  readonly isSessionReused: boolean;
  readonly finished: Buffer | undefined;
  readonly peerFinished: Buffer | undefined;
  /** Null on servers, as Node has it. */
  readonly ephemeralKeyInfo: EphemeralKeyInfo | object | null;
  readonly sharedSigalgs: readonly string[];
}

/**
 * What it takes to go on with a live TLS 1.3 connection of a server in another process. Its buffers of secrets are
 * filled with zeros after use: {@link forgetSecrets}.
 */
export interface TlsState {
  readonly cipher: Tls13Cipher;
  /** The current traffic secret with which the client writes; 32 or 48 bytes. */
  readonly clientSecret: Buffer;
  /** The current traffic secret with which the server writes. */
  readonly serverSecret: Buffer;
  readonly exporterSecret: Buffer;
  /** The number of the next record from the client, in its current key. */
  readonly readSequence: bigint;
  /** The number of the next record from the server, in its current key. */
  readonly writeSequence: bigint;
  /** Bytes of a record that have been read off the socket and not decrypted; only a connection that moved before has any. */
  readonly left: Buffer;
  /** The largest plaintext of a record that the client takes, in bytes; 16384 unless it asked for less. */
  readonly maxSend: number;
  /** The largest that the service wants to send, in bytes; undefined where it has not said any since the first move. */
  readonly wantedSend?: number | undefined;
  readonly facts: TlsFacts;
}

/** Fills the secrets of a state with zeros; it is of no use afterwards. */
export function forgetSecrets({ clientSecret, serverSecret, exporterSecret, left, facts }: TlsState): void {
  for (const secret of [clientSecret, serverSecret, exporterSecret, left, facts.session]) secret?.fill(0);
}
