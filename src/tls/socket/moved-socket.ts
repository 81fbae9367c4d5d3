/*
 * Over 300 lines: it stands for a TLSSocket, with a member for each of that one's.
 */
import type { Server } from 'node:net';
import { handleOf } from '../../node/handle.js';
import { isEnding, readAgain, stopReading } from '../../node/http/standstill.js';
import type { BaseOptions } from '../../node/tls-socket-base.js';
import { type FixedBytes, fixedBytes } from '../../os/libcrypto.js';
import { CIPHER_SUITES } from '../keys/cipher-suites.js';
import { TrafficKey } from '../keys/traffic-key.js';
import { CLOSE_NOTIFY, FATAL, type TlsFailure, WARNING } from '../records/alerts.js';
import { fastestProtection } from '../records/fastest-protection.js';
import type { RecordProtection } from '../records/record-protection.js';
import { type Received, RecordReader } from '../records/record-reader.js';
import { bytesOf, type Chunk, Plaintext, RecordWriter } from '../records/record-writer.js';
import { giveSlab, SLAB_BYTES, takeSlab } from '../records/slabs.js';
import type { TlsState } from '../state/tls-state.js';
import { AnsweringTlsSocket } from './answering-socket.js';

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

type Done = (error?: Error | null) => void;

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
  readonly #writer: RecordWriter;
  /** Ciphertext that was read where the connection came from; taken in at the beginning. */
  #left: Buffer | undefined;
  #hasBegun = false;
  #isCaptured = false;
  /** What the stream wants to do before it may. */
  #waiting: { readonly work: () => void; readonly done: Done } | undefined;
  /** Records that the kernel has not taken yet. */
  #unsent = 0;
  #isSending = false;
  #hasSentClose = false;
  #isAnswering = false;
  #owesAnswer = false;
  #plainRead = 0;
  #plainWritten = 0;

  /**
   * @param fd belongs to the socket from now on, if nothing is thrown. @param state what is secret in it is copied.
   * @throws RangeError where the state has secrets or numbers that can't be.
   */
  constructor(fd: number, state: TlsState, { server, allowHalfOpen, ...options }: AdoptTlsOptions = {}) {
    input ??= fixedBytes(SLAB_BYTES);
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
    this.#writer = new RecordWriter(protection, writeKey, state.maxSend, options.maxRecords);
    this.#left = state.left.length === 0 ? undefined : Buffer.from(state.left);
    stopReading(this);
  }

  /** What the client wrote here, in bytes. */
  get plainBytesRead(): number {
    return this.#plainRead;
  }

  /** What was written to the client here, in bytes, with what waits. */
  get plainBytesWritten(): number {
    return this.#plainWritten + this.writableLength;
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
    const handle = handleOf(this);
    if (handle === undefined || !this.#hasBegun || this.#isCaptured) return false;
    if (this.#unsent > 0 || this.#isSending || handle.writeQueueSize > 0 || this.#owesAnswer) return false;
    return !this.#hasSentClose && !isEnding(this) && this.#reader.isAtRest;
  }

  /**
   * What it takes to go on elsewhere; undefined where records are under way in either direction, or one side has ended.
   * From then on it neither reads nor writes, until {@link release}. Whether the service is at rest is not looked at.
   */
  capture(): TlsState | undefined {
    if (!this.isAtRest) return undefined;
    this.#isCaptured = true;
    stopReading(this);
    return {
      ...this.answers(),
      clientSecret: Buffer.from(this.#reader.key.secret),
      serverSecret: Buffer.from(this.#writer.key.secret),
      readSequence: BigInt(this.#reader.key.sequence),
      writeSequence: BigInt(this.#writer.key.sequence),
      left: this.#reader.left(),
      maxSend: this.#writer.maxSend,
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
      if (handleOf(this) !== undefined && !this.#hasSentClose) {
        this.#hasSentClose = true;
        this.#transmit(this.#writer.alert(WARNING, CLOSE_NOTIFY), () => {});
      }
      super._final(done);
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    super._destroy(error, done);
    this.#reader.forget();
    this.#writer.forget();
    this.forgetAnswers();
    this.#left?.fill(0);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(closedError());
  }

  protected override limitSend(bytes: number): void {
    this.#writer.maxSend = bytes;
  }

  #goOn(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.work();
    readAgain(this);
  }

  #whenAllowed(done: Done, work: () => void): void {
    if (this.destroyed) done(closedError());
    else if (this.#hasBegun && !this.#isCaptured) work();
    else this.#waiting = { work, done };
  }

  #send(chunks: readonly Chunk[], done: Done): void {
    this.#whenAllowed(done, () => {
      const length = bytesOf(chunks);
      this.#answerOwed();
      this.#isSending = true;
      const sent: Done = (error) => {
        this.#isSending = false;
        if (!error) this.#plainWritten += length;
        done(error);
      };
      if (length === 0) sent();
      else if (length <= this.#writer.maxSend) this.#transmit(this.#writer.one(chunks, length), sent);
      else this.#sendMany(new Plaintext(chunks), sent);
    });
  }

  /** Sends long data in slices: no more than one is sealed and not with the kernel. */
  #sendMany(plaintext: Plaintext, sent: Done): void {
    for (;;) {
      if (plaintext.isOver) {
        sent();
        return;
      }
      if (this.destroyed) {
        sent(closedError());
        return;
      }
      this.#answerOwed();
      const slab = takeSlab();
      const length = this.#writer.many(plaintext, slab);
      let state: 'in this turn' | 'done' | 'later' = 'in this turn';
      this.#transmit(slab.bytes.subarray(0, length), (error) => {
        giveSlab(slab);
        if (error) {
          state = 'later';
          sent(error);
        } else if (state === 'later') this.#sendMany(plaintext, sent);
        else state = 'done';
      });
      if ((state as string) !== 'done') {
        state = 'later';
        return;
      }
    }
  }

  /** Hands records to the kernel, behind those that it was handed before. */
  #transmit(records: Buffer, done: Done): void {
    this.#unsent += 1;
    super._write(records, 'buffer' as BufferEncoding, (error) => {
      this.#unsent -= 1;
      done(error);
    });
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
    if (wantsKeyUpdate && failure === undefined) this.#answerKeyUpdate();
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
    if (failure.alert !== undefined && handleOf(this) !== undefined && !this.#hasSentClose)
      this.#transmit(this.#writer.alert(FATAL, failure.alert), () => {});
    this.destroy(failure);
  }

  /** One answer at a time waits for the kernel: it is the answer to all that came before it. */
  #answerKeyUpdate(): void {
    if (this.#isAnswering) this.#owesAnswer = true;
    else this.#sendKeyUpdate();
  }

  /** No data goes out before the answer. Source: RFC 8446, 4.6.3. */
  #answerOwed(): void {
    if (this.#owesAnswer) this.#sendKeyUpdate();
  }

  #sendKeyUpdate(): void {
    this.#owesAnswer = false;
    if (handleOf(this) === undefined || this.#hasSentClose) return;
    this.#isAnswering = true;
    this.#transmit(this.#writer.keyUpdate(), () => {
      this.#isAnswering = false;
      if (!this.destroyed) this.#answerOwed();
    });
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

function closedError(): Error {
  return Object.assign(new Error('the TLS connection was closed'), { code: 'ERR_STREAM_DESTROYED' });
}

function isHalfOpen(server: Server | undefined): boolean {
  return (server as { allowHalfOpen?: boolean } | undefined)?.allowHalfOpen ?? false;
}
