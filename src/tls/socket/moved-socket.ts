import type { Server } from 'node:net';
import { handleOf, type StreamHandle } from '../../node/handle.js';
import { isEnding, readAgain, stopReading } from '../../node/http/standstill.js';
import { type BaseOptions, refreshTimeout } from '../../node/tls-socket-base.js';
import { type FixedBytes, fixedBytes } from '../../os/libcrypto.js';
import { CIPHER_SUITES } from '../keys/cipher-suites.js';
import { TrafficKey } from '../keys/traffic-key.js';
import type { TlsFailure } from '../records/alerts.js';
import { fastestProtection } from '../records/fastest-protection.js';
import type { RecordProtection } from '../records/record-protection.js';
import { type Received, RecordReader } from '../records/record-reader.js';
import { type Chunk, RecordWriter } from '../records/record-writer.js';
import { INPUT_BYTES } from '../records/slabs.js';
import type { TlsState } from '../state/tls-state.js';
import { AnsweringTlsSocket } from './answering-socket.js';
import { closedError, type Done, RecordSender } from './record-sender.js';

/** How a connection that moved is taken over. */
export interface AdoptTlsOptions {
  /** To which it belongs; who adopts it has the server count it. */
  readonly server?: Server | undefined;
  /** Whether it stays writable when the client has ended its side; by default as its server says, or not. */
  readonly allowHalfOpen?: boolean | undefined;
  /** What encrypts; by default the fastest that there is. */
  readonly protection?: RecordProtection | undefined;
  /** How many records are sealed with one key; by default as many as the cipher suite allows. */
  readonly maxRecords?: number | undefined;
}

/**
 * Everything that is read off sockets goes through the same memory: Node reads and tells at once, one after another.
 * Source: libuv, uv__read; node src/stream_base.cc, CustomBufferJSListener.
 */
let input: FixedBytes | undefined;

/**
 * A TLS 1.3 connection of a server that was moved here: a socket on the client's descriptor that decrypts what it reads
 * and encrypts what it writes. It neither reads nor writes until {@link begin}.
 */
export class MovedTlsSocket extends AnsweringTlsSocket {
  readonly #reader: RecordReader;
  readonly #sender: RecordSender;
  /** Ciphertext that was read where the connection came from; taken in at the beginning. */
  #left: Buffer | undefined;
  /** As in {@link TlsState}. */
  readonly #maxSend: number;
  #wantedSend: number | undefined;
  #hasBegun = false;
  #isCaptured = false;
  /** What the stream wants to do before it may. */
  #waiting: { readonly work: () => void; readonly done: Done } | undefined;
  #plainRead = 0;

  /**
   * @param fd belongs to the socket from now on, if nothing is thrown. @param state what is secret in it is copied.
   * @throws RangeError where the state has secrets or numbers that can't be.
   */
  constructor(fd: number, state: TlsState, { server, allowHalfOpen, ...options }: AdoptTlsOptions = {}) {
    input ??= fixedBytes(INPUT_BYTES);
    const memory = input;
    const basic: BaseOptions = {
      fd,
      readable: true,
      writable: true,
      allowHalfOpen: allowHalfOpen ?? isHalfOpen(server),
      manualStart: true,
      onread: { buffer: memory.bytes, callback: (length) => this.#take(memory, length) },
    };
    // Before there is a socket: a state that can't be right leaves the descriptor as it is.
    const protection = options.protection ?? fastestProtection();
    const suite = CIPHER_SUITES[state.cipher];
    const readKey = new TrafficKey(suite, state.clientSecret, Number(state.readSequence));
    const writeKey = new TrafficKey(suite, state.serverSecret, Number(state.writeSequence));
    super(basic, state, server);
    this.#reader = new RecordReader(protection, readKey);
    this.#maxSend = state.maxSend;
    this.#wantedSend = state.wantedSend;
    const writer = new RecordWriter(protection, writeKey, this.#sendBytes, options.maxRecords);
    this.#sender = new RecordSender(writer, this.#wire());
    this.#left = state.left.length === 0 ? undefined : Buffer.from(state.left);
    stopReading(this);
  }

  /** What the client wrote here, in bytes. */
  get plainBytesRead(): number {
    return this.#plainRead;
  }

  /** What was written to the client here, in bytes, with what waits. */
  get plainBytesWritten(): number {
    return this.#sender.plainBytes + this.writableLength;
  }

  /** Lets it read and write: nobody else may from now on. */
  begin(): void {
    if (this.#hasBegun || this.destroyed) return;
    this.#hasBegun = true;
    const left = this.#left;
    this.#left = undefined;
    if (left !== undefined) {
      const memory = fixedBytes(left.length);
      left.copy(memory.bytes);
      left.fill(0);
      this.#take(memory, left.length);
    }
    this.#goOn();
  }

  /** Whether nothing is under way in either direction, but the beginning of a record that has come. */
  get isAtRest(): boolean {
    if (handleOf(this) === undefined || !this.#mayWrite) return false;
    return this.#sender.isAtRest && !isEnding(this) && this.#reader.isAtRest;
  }

  /**
   * What it takes to go on elsewhere; undefined where records are under way in either direction, or one side has ended.
   * From then on it neither reads nor writes, until {@link release}. Whether the service is at rest is not looked at.
   */
  capture(): TlsState | undefined {
    if (!this.isAtRest) return undefined;
    this.#isCaptured = true;
    stopReading(this);
    const { writer } = this.#sender;
    return {
      ...this.answers(),
      clientSecret: Buffer.from(this.#reader.key.secret),
      serverSecret: Buffer.from(writer.key.secret),
      readSequence: BigInt(this.#reader.key.sequence),
      writeSequence: BigInt(writer.key.sequence),
      left: this.#reader.left(),
      maxSend: this.#maxSend,
      wantedSend: this.#wantedSend,
    };
  }

  /** Undoes {@link capture}: it stays here after all. */
  release(): void {
    if (!this.#isCaptured || this.destroyed) return;
    this.#isCaptured = false;
    this.#goOn();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: Done): void {
    this.#send([{ chunk, encoding }], done);
  }

  override _writev(chunks: { chunk: Buffer | string; encoding: BufferEncoding }[], done: Done): void {
    this.#send(chunks, done);
  }

  /** Says close_notify, then ends. */
  override _final(done: Done): void {
    this.#whenAllowed(done, () => {
      this.#sender.sayClose();
      super._final(done);
    });
  }

  override _destroy(error: Error | null, done: Done): void {
    super._destroy(error, done);
    this.#reader.forget();
    this.#sender.close();
    this.forgetAnswers();
    this.#left?.fill(0);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(closedError());
  }

  protected override limitSend(bytes: number): void {
    this.#wantedSend = bytes;
    this.#sender.writer.maxSend = this.#sendBytes;
  }

  // What the client has said stands above what the service wants. Source: OpenSSL ssl/ssl_lib.c, ssl_get_max_send_fragment.
  get #sendBytes(): number {
    return Math.min(this.#maxSend, this.#wantedSend ?? this.#maxSend);
  }

  #goOn(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.work();
    readAgain(this);
  }

  #whenAllowed(done: Done, work: () => void): void {
    if (this.destroyed) done(closedError());
    else if (this.#mayWrite) work();
    else this.#waiting = { work, done };
  }

  get #mayWrite(): boolean {
    return this.#hasBegun && !this.#isCaptured;
  }

  #send(chunks: readonly Chunk[], done: Done): void {
    if (this.#mayWrite && !this.destroyed) this.#sender.send(chunks, done);
    else this.#whenAllowed(done, () => this.#sender.send(chunks, done));
  }

  #wire() {
    return {
      handle: handleOf(this) as StreamHandle,
      write: (records: Buffer, done: Done) => super._write(records, 'buffer' as BufferEncoding, done),
      refreshTimeout: () => refreshTimeout(this),
    };
  }

  /** @returns whether more may be read now. */
  #take(memory: FixedBytes, length: number): boolean {
    let received: Received;
    const wasOver = this.#reader.isOver;
    try {
      received = this.#reader.take(memory, length);
    } catch (error) {
      this.destroy(error as Error);
      return false;
    }
    const { plaintext, hasClosed, wantsKeyUpdate, failure } = received;
    if (wantsKeyUpdate && failure === undefined) this.#sender.answerKeyUpdate();
    let wantsMore = true;
    try {
      if (plaintext !== undefined) {
        this.#plainRead += plaintext.length;
        wantsMore = this.push(plaintext);
      }
    } finally {
      // Also where somebody who listens throws.
      if (wasOver) wantsMore = true;
      else if (failure !== undefined) this.#fail(failure);
      else if (hasClosed) this.#endReading();
    }
    return wantsMore;
  }

  #endReading(): void {
    if (this.destroyed) return;
    this.push(null);
    // As Node does at the end of a stream: 'end' comes also where nobody reads.
    this.read(0);
  }

  /** Tells the client by an alert, if it was not the client who told us, and closes. */
  #fail(failure: TlsFailure): void {
    if (failure.alert !== undefined) this.#sender.sayAlert(failure.alert);
    this.destroy(failure);
  }
}

// Node's own counts of a TLSSocket are those of the plaintext; libuv counts records here.
Object.defineProperties(MovedTlsSocket.prototype, {
  bytesRead: {
    configurable: true,
    get(this: MovedTlsSocket) {
      return this.plainBytesRead;
    },
  },
  bytesWritten: {
    configurable: true,
    get(this: MovedTlsSocket) {
      return this.plainBytesWritten;
    },
  },
});
// Some programs look at the name of the class.
Object.defineProperty(MovedTlsSocket, 'name', { configurable: true, value: 'TLSSocket' });

/** Takes over a connection that was moved here; it neither reads nor writes until `begin()`. */
export function adoptTls(fd: number, state: TlsState, options: AdoptTlsOptions = {}): MovedTlsSocket {
  return new MovedTlsSocket(fd, state, options);
}

/** {@link MovedTlsSocket.capture} of a socket that moved before; undefined for every other one. */
export function captureMoved(socket: unknown): TlsState | undefined {
  return socket instanceof MovedTlsSocket ? socket.capture() : undefined;
}

function isHalfOpen(server: Server | undefined): boolean {
  return (server as { allowHalfOpen?: boolean } | undefined)?.allowHalfOpen ?? false;
}
