import type { Tls13Cipher } from '../state/tls-state.js';

/** What a cipher suite of TLS 1.3 is made of. */
export interface CipherSuite {
  readonly name: Tls13Cipher;
  /** As node:crypto calls the cipher. */
  readonly nodeName: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';
  /** As libcrypto calls it. */
  readonly evpName: string;
  readonly keyBytes: number;
  readonly hash: 'sha256' | 'sha384';
  /** How long the hash and each secret are. */
  readonly hashBytes: number;
  /** How many records may be sealed with one key; then the writer takes the next key. */
  readonly maxRecords: number;
}

/** AES-GCM keeps its safety margin for 2^24.5 full records of a key. Source: RFC 8446, 5.5. */
const GCM_RECORDS = 2 ** 24;

/** The cipher suites by name. Source: RFC 8446, B.4 and 5.5. */
export const CIPHER_SUITES: Readonly<Record<Tls13Cipher, CipherSuite>> = {
  TLS_AES_128_GCM_SHA256: {
    name: 'TLS_AES_128_GCM_SHA256',
    nodeName: 'aes-128-gcm',
    evpName: 'AES-128-GCM',
    keyBytes: 16,
    hash: 'sha256',
    hashBytes: 32,
    maxRecords: GCM_RECORDS,
  },
  TLS_AES_256_GCM_SHA384: {
    name: 'TLS_AES_256_GCM_SHA384',
    nodeName: 'aes-256-gcm',
    evpName: 'AES-256-GCM',
    keyBytes: 32,
    hash: 'sha384',
    hashBytes: 48,
    maxRecords: GCM_RECORDS,
  },
  TLS_CHACHA20_POLY1305_SHA256: {
    name: 'TLS_CHACHA20_POLY1305_SHA256',
    nodeName: 'chacha20-poly1305',
    evpName: 'ChaCha20-Poly1305',
    keyBytes: 32,
    hash: 'sha256',
    hashBytes: 32,
    maxRecords: Number.MAX_SAFE_INTEGER,
  },
};
