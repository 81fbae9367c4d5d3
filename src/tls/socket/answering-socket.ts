import { X509Certificate } from 'node:crypto';
import type {
  CipherNameAndProtocol,
  DetailedPeerCertificate,
  EphemeralKeyInfo,
  PeerCertificate,
} from 'node:tls';
import { handleOf } from '../../node/handle.js';
import { type BaseOptions, markSecured, UnwrappedTlsSocket } from '../../node/tls-socket-base.js';
import { CIPHER_SUITES } from '../keys/cipher-suites.js';
import { exportKeyingMaterial } from '../keys/key-schedule.js';
import type { Tls13Cipher, TlsFacts } from '../state/tls-state.js';
import { certificateChain, certificateObject, x509Chain } from './certificates.js';

/** The smallest and the largest content of a record that `setMaxSendFragment` takes, in bytes. */
const MIN_SEND_BYTES = 512;
const MAX_SEND_BYTES = 16_384;

/** What of a connection the answers come from. */
export interface AnswersFrom {
  readonly cipher: Tls13Cipher;
  readonly exporterSecret: Buffer;
  readonly facts: TlsFacts;
}

/**
 * A socket that answers what a TLSSocket of a server answers, out of what its predecessor knew. As with Node's own, most
 * answers of one that is destroyed are null. What can't be had: docs/reference/tls.md.
 */
export abstract class AnsweringTlsSocket extends UnwrappedTlsSocket {
  readonly #cipher: Tls13Cipher;
  readonly #exporterSecret: Buffer;
  readonly #facts: TlsFacts;
  readonly #session: Buffer | undefined;

  /** @param from copied where it is secret. @param server to which the connection belongs. */
  constructor(options: BaseOptions, { cipher, exporterSecret, facts }: AnswersFrom, server: unknown) {
    super(options);
    this.#cipher = cipher;
    this.#exporterSecret = Buffer.from(exporterSecret);
    this.#session = facts.session && Buffer.from(facts.session);
    this.#facts = facts;
    this.encrypted = true;
    this.authorized = facts.authorized;
    this.alpnProtocol = facts.alpnProtocol;
    this.servername = facts.servername;
    // As Node leaves a time-out when the handshake's is over.
    Object.assign(this, { authorizationError: facts.authorizationError, timeout: 0 });
    markSecured(this, server);
  }

  /** What the next generation needs for its answers; copies where it is secret. */
  protected answers(): AnswersFrom {
    const session = this.#session && Buffer.from(this.#session);
    const exporterSecret = Buffer.from(this.#exporterSecret);
    return { cipher: this.#cipher, exporterSecret, facts: { ...this.#facts, session } };
  }

  /** Leaves nothing of what is secret. */
  protected forgetAnswers(): void {
    this.#exporterSecret.fill(0);
    this.#session?.fill(0);
  }

  override getCipher(): CipherNameAndProtocol {
    return this.#whileOpen(() => ({
      name: this.#cipher,
      standardName: this.#cipher,
      version: 'TLSv1.3',
    }));
  }

  override getProtocol(): string | null {
    return this.#whileOpen(() => 'TLSv1.3');
  }

  override getSession(): Buffer<ArrayBuffer> | undefined {
    return this.#whileOpen(() => copyOf(this.#session));
  }

  override getFinished(): Buffer<ArrayBuffer> | undefined {
    return this.#whileOpen(() => copyOf(this.#facts.finished));
  }

  override getPeerFinished(): Buffer<ArrayBuffer> | undefined {
    return this.#whileOpen(() => copyOf(this.#facts.peerFinished));
  }

  override isSessionReused(): boolean {
    return this.#whileOpen(() => this.#facts.isSessionReused);
  }

  override getEphemeralKeyInfo(): EphemeralKeyInfo | object | null {
    return this.#whileOpen(() => this.#facts.ephemeralKeyInfo);
  }

  override getSharedSigalgs(): string[] {
    return this.#whileOpen(() => [...this.#facts.sharedSigalgs]);
  }

  /** Servers never have one. */
  override getTLSTicket(): undefined {
    return this.#whileOpen(() => undefined);
  }

  override getPeerCertificate(detailed: true): DetailedPeerCertificate;
  override getPeerCertificate(detailed?: boolean): PeerCertificate | DetailedPeerCertificate;
  override getPeerCertificate(detailed?: boolean): PeerCertificate | DetailedPeerCertificate {
    const chain = this.#facts.peerCertificates;
    const [leaf] = chain;
    return this.#whileOpen(() => {
      if (leaf === undefined) return {} as PeerCertificate;
      return (detailed ? certificateChain(chain) : undefined) ?? certificateObject(leaf);
    });
  }

  override getPeerX509Certificate(): X509Certificate | undefined {
    return this.#isOpen ? x509Chain(this.#facts.peerCertificates) : undefined;
  }

  override getCertificate(): PeerCertificate | object | null {
    const { certificate } = this.#facts;
    return this.#whileOpen(() => (certificate === undefined ? {} : certificateObject(certificate)));
  }

  override getX509Certificate(): X509Certificate | undefined {
    const { certificate } = this.#facts;
    return certificate === undefined || !this.#isOpen ? undefined : new X509Certificate(certificate);
  }

  override exportKeyingMaterial(length: number, label: string, context?: Buffer): Buffer<ArrayBuffer> {
    if (!Number.isInteger(length) || length < 1 || length > 255 * 32)
      throw new RangeError(`expected a length from 1 to ${255 * 32} bytes, got ${length}`);
    if (typeof label !== 'string') throw new TypeError(`expected a label as a string, got ${typeof label}`);
    // Source: OpenSSL, tls13_export_keying_material: none is the same as an empty one.
    const about = context === undefined ? Buffer.alloc(0) : Buffer.from(context);
    return this.#whileOpen(() =>
      exportKeyingMaterial(CIPHER_SUITES[this.#cipher], this.#exporterSecret, label, about, length),
    ) as Buffer<ArrayBuffer>;
  }

  override setMaxSendFragment(size: number): boolean {
    if (!Number.isInteger(size) || size < MIN_SEND_BYTES || size > MAX_SEND_BYTES) return false;
    this.limitSend(size);
    return true;
  }

  /** TLS 1.3 has none. @returns false; the callback gets the error. */
  override renegotiate(_options: object, callback?: (error: Error | null) => void): undefined | boolean {
    if (this.destroyed) return undefined;
    const error = Object.assign(new Error('TLS 1.3 has no renegotiation'), {
      code: 'ERR_SSL_WRONG_SSL_VERSION',
    });
    if (callback) process.nextTick(callback, error);
    return false;
  }

  override disableRenegotiation(): void {}

  /** There is no OpenSSL that could print it. */
  override enableTrace(): void {}

  /** The handshake is over. */
  override setKeyCert(): void {}

  /** Has records with at most so many bytes of content sent from now on, and with fewer where the client takes no more. */
  protected abstract limitSend(bytes: number): void;

  get #isOpen(): boolean {
    return handleOf(this) !== undefined;
  }

  // Node's own answers null then, whatever its types say.
  #whileOpen<T>(answer: () => T): T {
    return this.#isOpen ? answer() : (null as T);
  }
}

function copyOf(bytes: Buffer | undefined): Buffer<ArrayBuffer> | undefined {
  return bytes && Buffer.from(bytes);
}
